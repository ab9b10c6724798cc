"""What the measured projections are judged by, and whether they reach it."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from .projections_measure import BATCH
from .projections_methods import IDENTITY, OURS
from .projections_problems import SHAPES
from .projections_update import ACTOR, DQN, OURS_UPDATE
from .speed import Target

__all__ = ["JUDGED_SIZE", "RULES", "by_round", "median", "shape_targets"]

JUDGED_SIZE = 5
MAX_ERROR = 1e-6
MIN_SPEEDUP = 50.0
MAX_UPDATE = 1.25
MAX_IDENTITY = {name: 4.0 if name == "Monotone" else 6.0 for name in SHAPES}

RULES = f"""\
All ratios are medians over rounds of two times of the same round, at batch {BATCH} and \
K = {JUDGED_SIZE}; figures at any other size decide nothing.

- Cost: a pass of ours takes at most {MAX_IDENTITY["Monotone"]:g} times a pass of the \
identity for Monotone, {MAX_IDENTITY["Concave"]:g} times for the other shapes.
- Error: ours is within {MAX_ERROR:g} of the reference, as the largest absolute \
difference relative to the row's scale (its largest distance from its mean).
- Rivals: a pass of the rival takes at least {MIN_SPEEDUP:g} times as long as ours, and \
ours meets the error; a fast wrong answer is a miss.
- Update: an update of `ConstraintAwareQ` takes at most {MAX_UPDATE:g} times what \
`DQN.update` and the bare actor take together.

What was not run is "not measured": neither reached nor missed."""

Row = dict[str, Any]


@dataclasses.dataclass(frozen=True)
class FastAndRight(Target):
    """A speed that counts only if the answer is right.

    Args:
        error: of the answer, ``nan`` if it was not measured.
    """

    error: float = math.nan

    @property
    def verdict(self) -> str:
        """``reached``, ``missed`` or ``not measured``."""
        if math.isnan(self.error):
            return "not measured"
        if self.error > MAX_ERROR and not math.isnan(self.measured):
            return "missed"
        return super().verdict


def by_round(rows: Sequence[Row], **where: Any) -> dict[int, float]:
    """Seconds of each round of the rows that match."""
    return {
        int(r["round"]): float(r["seconds"])
        for r in rows
        if r["seconds"] is not None and all(r[k] == v for k, v in where.items())
    }


def median(values: Sequence[float]) -> float:
    """``nan`` if there are none."""
    return float(np.median(values)) if len(values) else math.nan


def _ratio(first: dict[int, float], second: dict[int, float]) -> float:
    return median([first[turn] / second[turn] for turn in first if turn in second])


def shape_targets(rows: Sequence[Row]) -> list[Target]:
    """Every target with what was measured."""
    judged = [r for r in rows if r["size"] == JUDGED_SIZE and r["batch"] == BATCH]

    def times(shape: str, method: str) -> dict[int, float]:
        return by_round(judged, part="projection", shape=shape, method=method)

    errors = {
        r["shape"]: float(r["error"])
        for r in judged
        if r["part"] == "projection" and r["method"] == OURS
    }
    found = []
    for shape, bound in MAX_IDENTITY.items():
        ratio = _ratio(times(shape, OURS), times(shape, IDENTITY))
        found.append(Target(f"{shape}: ours / identity", ratio, bound, False))
    for shape in SHAPES:
        error = errors.get(shape, math.nan)
        found.append(Target(f"{shape}: error of ours", error, MAX_ERROR, False))
    for rival in ("qpth", "cvxpylayers"):
        for shape in SHAPES:
            ratio = _ratio(times(shape, rival), times(shape, OURS))
            error = errors.get(shape, math.nan)
            name = f"{shape}: {rival} / ours"
            found.append(FastAndRight(name, ratio, MIN_SPEEDUP, True, error))
    update, dqn, actor = (
        by_round(judged, part="update", method=m) for m in (OURS_UPDATE, DQN, ACTOR)
    )
    both = {turn: dqn[turn] + actor[turn] for turn in dqn if turn in actor}
    name = f"{OURS_UPDATE} / ({DQN} + {ACTOR})"
    return [*found, Target(name, _ratio(update, both), MAX_UPDATE, False)]
