"""The folder of one learning: spec, policy, results, report; and one to go on from."""

from __future__ import annotations

import dataclasses
import json
import os
import pathlib
import shutil
from typing import Any

from .._util.checks import check_path
from .._util.files import replaced
from ..evidence import Stopping
from .learning import Learned
from .policy import DESCRIPTION, Policy
from .spec import Spec

SPEC, POLICY, RESULTS, REPORT = "spec.toml", "policy", "results.json", "report.html"
LOSSES = "losses.npz"
# What a folder of unfinished trainings may hold.
_OURS = ("stopping-", "training-", ".icac-")


def check_place(out: pathlib.Path, again: bool) -> None:
    """Raises ``ValueError`` if nothing may be written there, or what is not ours lost."""
    check_path("out", out)
    over = next(p for p in [out, *out.absolute().parents] if p.exists())
    if not over.is_dir():
        raise ValueError(f"out must be a folder, {over} is a file")
    beside = next(p for p in out.absolute().parents if p.exists())
    if not os.access(beside, os.W_OK | os.X_OK):
        raise ValueError(f"out must be in a folder that may be written, {beside} may not")
    work, old = unfinished(out), _old(out)
    if old.exists():
        raise ValueError(
            f"out {out} keeps what it replaces as {old}, which is there: rename it"
        )
    if work.exists() and not (
        work.is_dir() and all(one.name.startswith(_OURS) for one in work.iterdir())
    ):
        raise ValueError(f"out {out} keeps trainings in {work}, which is something else")
    if not out.exists() or not any(out.iterdir()):
        return
    if not (out / SPEC).exists():
        raise ValueError(f"out must be a new folder, {out} holds something else")
    if not again:
        raise ValueError(f"out {out} is there already; --again learns it anew")
    for one in out.iterdir():
        if one.name not in (SPEC, POLICY, RESULTS, REPORT, LOSSES):
            raise ValueError(f"out {out} would lose {one.name}, which is not of learning")


def unfinished(out: pathlib.Path) -> pathlib.Path:
    """Where trainings are kept until all is done."""
    return out.parent / f"{out.name}.unfinished"


def _old(out: pathlib.Path) -> pathlib.Path:
    """Where what is replaced lies until the new is in its place."""
    return out.parent / f"{out.name}.old"


def write(out: pathlib.Path, learned: Learned, page: str, results: Any) -> None:
    """All files at once, or none; what was there goes when the new ones are whole."""
    out.parent.mkdir(parents=True, exist_ok=True)
    old, moved = _old(out), False
    logs = [str(pathlib.Path(one).absolute()) for one in learned.log.spec.log]
    spec = dataclasses.replace(learned.log.spec, log=tuple(logs))
    try:
        with replaced(out) as place:
            (place / POLICY).mkdir(parents=True)
            learned.policy.save(place / POLICY)
            (place / SPEC).write_text(spec.to_toml(), "utf-8")
            if learned.stopping is not None:
                learned.stopping.save(place / LOSSES)
            text = json.dumps(results, indent=1, allow_nan=False)
            (place / RESULTS).write_text(text + "\n", "utf-8")
            (place / REPORT).write_text(page, "utf-8")
            if out.exists() and any(out.iterdir()):
                out.rename(old)
                moved = True
    except BaseException:
        if moved and not out.exists():
            old.rename(out)
        raise
    if moved:
        shutil.rmtree(old, ignore_errors=True)
    shutil.rmtree(unfinished(out), ignore_errors=True)


def open_policy(folder: str) -> Policy:
    """A policy's folder, or that of a learning which holds one."""
    place = pathlib.Path(folder)
    if not place.is_dir():
        raise ValueError(f"{folder} must be a folder of icac learn, there is none")
    inside = place / POLICY
    return Policy.load(str(place if (place / DESCRIPTION).exists() else inside))


def check_split(folder: str, spec: Spec) -> None:
    """Raises ``ValueError`` if a policy has learned from rows that ``spec`` holds out."""
    place = pathlib.Path(folder).absolute()
    home = next((one for one in (place, place.parent) if (one / SPEC).exists()), None)
    if home is None:
        return
    learned = open_spec(str(home))
    logs = [{pathlib.Path(log).resolve() for log in one.log} for one in (learned, spec)]
    for name in ("time", "episode", "held_out", "seed"):
        own, given = getattr(learned, name), getattr(spec, name)
        if logs[0] & logs[1] and own != given:
            raise ValueError(
                f"{name} must be {own!r}, got {given!r}: {folder} would be judged by "
                "rows that it has learned from"
            )


def open_losses(folder: str) -> Stopping | None:
    """How the steps were found, if they were."""
    place = pathlib.Path(folder) / LOSSES
    return Stopping.load(place) if place.exists() else None


def open_spec(folder: str) -> Spec:
    """What a folder was learned from; paths of its log are absolute."""
    place = pathlib.Path(folder) / SPEC
    if not place.exists():
        raise ValueError(f"{folder} must be a folder of icac learn, has no {SPEC}")
    return Spec.read(str(place))
