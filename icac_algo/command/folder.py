"""The folder of one learning: spec, policy, results, report; and one to go on from."""

from __future__ import annotations

import dataclasses
import json
import pathlib
import shutil
from typing import Any

from .._util.files import replaced
from ..evidence import Stopping
from .learning import Learned
from .policy import DESCRIPTION, Policy
from .spec import Spec

SPEC, POLICY, RESULTS, REPORT = "spec.toml", "policy", "results.json", "report.html"
LOSSES = "losses.npz"


def check_place(out: pathlib.Path, again: bool) -> None:
    """Raises ``ValueError`` if nothing may be written there."""
    over = next(p for p in [out, *out.absolute().parents] if p.exists())
    if not over.is_dir():
        raise ValueError(f"out must be a folder, {over} is a file")
    if not out.exists() or not any(out.iterdir()):
        return
    if not (out / SPEC).exists():
        raise ValueError(f"out must be a new folder, {out} holds something else")
    if not again:
        raise ValueError(f"out {out} is there already; --again learns it anew")


def unfinished(out: pathlib.Path) -> pathlib.Path:
    """Where trainings are kept until all is done."""
    return out.parent / f"{out.name}.unfinished"


def write(out: pathlib.Path, learned: Learned, page: str, results: Any) -> None:
    """All files at once, or none; what was there goes when the new ones are whole."""
    out.parent.mkdir(parents=True, exist_ok=True)
    old = out.parent / f"{out.name}.old"
    if out.exists() and any(out.iterdir()):
        shutil.rmtree(old, ignore_errors=True)
        out.rename(old)
    try:
        with replaced(out) as place:
            (place / POLICY).mkdir(parents=True)
            learned.policy.save(place / POLICY)
            spec = learned.log.spec
            # From whatever folder it is read later.
            log = tuple(str(pathlib.Path(one).absolute()) for one in spec.log)
            text = dataclasses.replace(spec, log=log).to_toml()
            (place / SPEC).write_text(text, "utf-8")
            if learned.stopping is not None:
                learned.stopping.save(place / LOSSES)
            text = json.dumps(results, indent=1, allow_nan=False)
            (place / RESULTS).write_text(text + "\n", "utf-8")
            (place / REPORT).write_text(page, "utf-8")
    except BaseException:
        if old.exists() and not out.exists():
            old.rename(out)
        raise
    shutil.rmtree(old, ignore_errors=True)
    shutil.rmtree(unfinished(out), ignore_errors=True)


def open_policy(folder: str) -> Policy:
    """A policy's folder, or that of a learning which holds one.

    Raises:
        ValueError: it is neither.
    """
    place = pathlib.Path(folder)
    if not place.is_dir():
        raise ValueError(f"{folder} must be a folder of icac learn, there is none")
    inside = place / POLICY
    return Policy.load(str(place if (place / DESCRIPTION).exists() else inside))


def open_losses(folder: str) -> Stopping | None:
    """How the steps were found, if they were."""
    place = pathlib.Path(folder) / LOSSES
    return Stopping.load(place) if place.exists() else None


def open_spec(folder: str) -> Spec:
    """What a folder was learned from.

    Raises:
        ValueError: it is no folder of a learning.
    """
    place = pathlib.Path(folder) / SPEC
    if not place.exists():
        raise ValueError(f"{folder} must be a folder of icac learn, has no {SPEC}")
    return Spec.read(str(place))
