"""What was learned, as one page for people and as one object for programs."""

from __future__ import annotations

import math
import platform
from typing import Any

import numpy as np

from ..export import versions
from .findings import checks, comparison, training
from .learning import OURS, Learned
from .page import definitions, drawing, figures, page, paragraph, text
from .views import View

# Sections that stand beside each other where there is room.
_HALVES = ("What it does", "What it looks at")


def results(learned: Learned) -> dict[str, Any]:
    """What was found, of what JSON can say; a number that is not finite is ``None``."""
    stopping, logger = learned.stopping, learned.comparison.logger
    found = {
        "verdict": learned.verdict,
        "shape": learned.shape,
        "steps": learned.policy.algo.grad_step,
        "settings": None if stopping is None else stopping.name,
        "log": dict(learned.log.describe()),
        "checks": {
            name: None
            if one is None
            else {
                "verdict": one.verdict,
                "p_value": one.p_value,
                "undetected": one.undetected,
                "explanation": one.explanation,
            }
            for name, one in learned.checks.items()
        },
        "logger": {"value": logger.value, "lower": logger.lower, "upper": logger.upper},
        "policies": [
            {
                "name": one.name,
                "value": one.estimate.value,
                "lower": one.estimate.lower,
                "upper": one.estimate.upper,
                "lift": one.lift,
                "lift_lower": one.lift_lower,
                "lift_upper": one.lift_upper,
                "changed": one.changed,
                "better": one.better,
                "problems": list(one.problems),
            }
            for one in learned.comparison.policies
        ],
    }
    plain: dict[str, Any] = _plain(found)
    return plain


def report(learned: Learned, command: str) -> str:
    """A page of HTML that needs no network and runs no scripts."""
    with drawing():
        view = View(learned)
        sections = {
            "What the log holds": definitions(learned.log.describe()),
            "What was stated, and what the log says of it": checks(learned),
            "How long it was trained": training(learned),
            "The policy against the logger and its rivals": comparison(learned),
            "What it expects of each action": view.values(),
            "What it does": view.policy(),
            "What it looks at": view.importance(),
            "What would change": view.changes(),
            "How to repeat it": _repeat(learned, command),
        }
    act = learned.log.spec.act
    body = [
        '<header><p class="kicker">Learned from a log of decisions</p>',
        f"<h1>A policy for {text(act)}</h1>",
        f'<div class="verdict {_tone(learned)}">{paragraph(learned.verdict)}</div>',
        f"{_tiles(learned)}<nav aria-label='Contents'>",
        *(f'<a href="#s{i}">{text(title)}</a>' for i, title in enumerate(sections, 1)),
        "</nav></header><main>",
    ]
    for i, (title, inside) in enumerate(sections.items(), 1):
        half = ' class="half"' if title in _HALVES else ""
        body.append(
            f'<section{half} aria-labelledby="s{i}"><h2 id="s{i}">{text(title)}</h2>'
            f"{inside}</section>"
        )
    return page(f"A policy for {act}", "\n".join([*body, "</main>"]))


def _tone(learned: Learned) -> str:
    if learned.verdict.startswith("Better"):
        return "good"
    return "bad" if learned.verdict.startswith("Worse") else "unsure"


def _tiles(learned: Learned) -> str:
    log, ours = learned.log, learned.comparison[OURS]
    algo = learned.policy.algo
    shape = learned.shape or type(algo.config.constraint).__name__.lower()
    if log.spec.outcomes:
        shape = f"of {len(learned.checks)} outcome{'s' * (len(learned.checks) > 1)}"
    tiles = {
        "decisions": f"{len(log.training) + len(log.held_out):,}",
        "mean reward of the logger": figures(learned.comparison.logger.value),
        "gain of the policy": "not known" if ours.problems else figures(ours.lift),
        "decisions that change": f"{ours.changed:.0%}",
        "shape": shape,
        "steps of training": f"{algo.grad_step:,}",
    }
    each = (
        f'<div class="tile"><b>{text(said)}</b><span class="soft">{word}</span></div>'
        for word, said in tiles.items()
    )
    return f'<div class="tiles">{"".join(each)}</div>'


def _repeat(learned: Learned, command: str) -> str:
    packages = {"Python": platform.python_version(), **versions()}
    return (
        f"<h3>Command</h3><pre>{text(command)}</pre>"
        f"<h3>The same as a file</h3><pre>{text(learned.log.spec.to_toml())}</pre>"
        f"<h3>Versions</h3>{definitions(packages.items())}"
    )


def _plain(value: Any) -> Any:
    """As JSON can say it."""
    if isinstance(value, dict):
        return {name: _plain(one) for name, one in value.items()}
    if isinstance(value, list):
        return [_plain(one) for one in value]
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value
