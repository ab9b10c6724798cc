"""``python -m benchmarks tune``: the hyperparameters of Table I's baselines."""

from __future__ import annotations

import pathlib
from collections.abc import Mapping

from ..engine import Experiment, Part, Results, Settings, register
from ..engine.tuning import tune
from ..learners import AUCTION_LEARNERS, ONLINE_LEARNERS, Learner
from .online import ONLINE, TUNED
from .table1 import TABLE, TUNED_OFFLINE

#: File, cells and learners.
SEARCHES: list[tuple[pathlib.Path, Part, Mapping[str, Learner]]] = [
    (TUNED_OFFLINE, TABLE, AUCTION_LEARNERS),
    (TUNED, ONLINE, ONLINE_LEARNERS),
]


def _tune(settings: Settings) -> None:
    for path, part, learners in SEARCHES:
        place = {"env": "BidClick-v0", "fraction": 1.0}
        tune(path, part, learners, [place], settings)


def _finish(results: Results, settings: Settings) -> str:
    return f"wrote {' and '.join(str(path) for path, _, _ in SEARCHES)}"


register(
    Experiment(
        "tune",
        "choose the baselines' hyperparameters",
        defaults={"steps": 5000, "workers": 2},
        report="",
        prepare=_tune,
        finish=_finish,
    )
)
