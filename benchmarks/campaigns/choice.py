"""The penalty, and the shape, chosen from the log alone, against an oracle's choice.

Three tasks, each a list of candidates from the most constrained to the freest: the
paper's lambda, the shape over bids on single impressions, and the two shapes of a critic
of afterstates on campaigns.  A cell either scores all candidates of a task on one log by
cross-validation, or trains one of them on the whole log and measures its true regret.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Iterable
from typing import Any

from bidclick_gym import simulate_log
from bidclick_gym.auction import Auction
from bidclick_gym.evaluators import ReturnEvaluator
from bidclick_gym.logs import to_replay_buffer
from icac_algo import ColumnarReplayBuffer, check_prior, select_by_bellman_error

from ..auction.measures import GRID
from ..engine import Cell, Part, Settings, keys_of
from ..engine.rows import Row, Rows
from ..learners import trained
from ..paper.critic_views import CriticView
from .candidates import TASKS, Candidate, ProximalQ
from .training import CampaignBidder, log_of, regret

#: The "candidate" of the cells that score all of them.
SCORES = "scores"
LEVEL = 0.05
RULES = ("by_error", "by_lowest", "by_own", "by_prior", "by_both")


def _cells(settings: Settings) -> Iterable[Cell]:
    """Single impressions, along which no value has to travel, take a third of steps."""
    for seed in range(settings["extra_seeds"]):
        for name, task in TASKS.items():
            steps = settings.steps if task.is_campaign else -(-settings.steps // 3)
            for fraction in task.fractions:
                where = {"task": name, "fraction": fraction, "steps": steps}
                for part in (SCORES, *task.candidates):
                    yield Cell.of("choice", part, seed, **where)


def _depends(cell: Cell) -> Any:
    candidates = TASKS[cell["task"]].candidates
    names = candidates if cell.learner == SCORES else [cell.learner]
    return {name: candidates[name].make(cell["steps"]) for name in names}


def _measure(cell: Cell) -> Rows:
    """Scores of every candidate, a row each; or one row, of a trained one."""
    return _scores(cell) if cell.learner == SCORES else [_training(cell)]


def _scores(cell: Cell) -> Rows:
    choosable = {
        name: candidate
        for name, candidate in TASKS[cell["task"]].candidates.items()
        if not candidate.is_rival
    }

    def made(candidate: Candidate) -> Any:
        return candidate.make(cell["steps"]).create(device="cpu:0")

    dataset = _dataset(cell)
    found = select_by_bellman_error(
        dataset,
        {name: functools.partial(made, one) for name, one in choosable.items()},
        cell["steps"],
        seed=cell.seed,
        show_progress=False,
    )
    checks = {
        name: check_prior(dataset, candidate.shape, level=LEVEL)
        for name, candidate in choosable.items()
        if candidate.shape is not None
    }
    kept = [name for name, check in checks.items() if not check.rejected]
    # The rule that asks both is another one.
    found = dataclasses.replace(found, prior_checks={})
    chosen = (
        found.best,
        found.lowest,
        found.names[int(found.own_errors.argmin())],
        # Nothing is asked of no shape, so one is always left.
        kept[0] if kept else None,
        found.among(kept).best if kept else None,
    )
    return [
        {
            "candidate": name,
            "error": float(found.errors[i]),
            "difference": float(found.differences[i]),
            "standard_error": float(found.standard_errors[i]),
            "own_error": float(found.own_errors[i]),
            "p_value": checks[name].p_value if name in checks else None,
            "rejected": int(checks[name].rejected) if name in checks else None,
            **{
                rule: None if choice is None else int(choice == name)
                for rule, choice in zip(RULES, chosen, strict=True)
            },
        }
        for i, name in enumerate(found.names)
    ]


def _training(cell: Cell) -> Row:
    candidate = TASKS[cell["task"]].candidates[cell.learner]
    dataset = _dataset(cell)
    steps = cell["steps"]
    algo = trained(candidate.make(steps), dataset, cell.seed, steps, epochs=1)
    row: Row = {"is_false": int(candidate.is_false), "regret": _regret(cell, algo)}
    if isinstance(algo, ProximalQ):
        projected = CriticView(algo, "exact")
        row["regret_projected"] = _regret(cell, projected)
        row["final_lambda"] = algo.multiplier
    return row


def _dataset(cell: Cell) -> ColumnarReplayBuffer:
    if TASKS[cell["task"]].is_campaign:
        log = log_of("unpaced", cell.seed)
    else:
        log = simulate_log(Auction(), seed=cell.seed)
    return to_replay_buffer(log, cell["fraction"], cell.seed)


def _regret(cell: Cell, model: Any) -> float:
    if TASKS[cell["task"]].is_campaign:
        return regret(CampaignBidder(model))
    auction = Auction()
    return auction.optimal_value(GRID) - ReturnEvaluator(auction, GRID)(model)


def _joined(rows: Rows) -> Rows:
    """One row for each task, share, seed and candidate, in the order of tables."""
    found: dict[tuple[Any, ...], Row] = {}
    for row in rows:
        key = row["task"], row["fraction"], row["seed"], row["candidate"]
        found.setdefault(key, dict.fromkeys(CHOICE.columns)).update(row)
    names = [name for task in TASKS.values() for name in task.candidates]
    sort = keys_of("candidate", "-fraction", "seed", candidate=names)
    return sort(list(found.values()))


CHOICE = Part(
    "choice",
    (
        *("task", "fraction", "seed", "steps", "candidate", "is_false"),
        *("regret", "regret_projected", "final_lambda"),
        *("error", "difference", "standard_error", "own_error", "p_value", "rejected"),
        *RULES,
    ),
    _cells,
    _measure,
    _depends,
    learner="candidate",
    arrange=_joined,
)
