"""The penalty, and the shape, chosen from the log alone, against an oracle's choice.

Three tasks, each a list of candidates from the most constrained to the freest: the
paper's lambda, the shape over bids on single impressions, and the two shapes of a critic
of afterstates on campaigns.  A cell either scores all candidates of a task on one log by
cross-validation, or trains one of them on the whole log and measures its true regret.
"""

from __future__ import annotations

import dataclasses
import pathlib
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from bidclick_gym import simulate_log
from bidclick_gym.auction import Auction
from bidclick_gym.campaigns import BudgetedCampaign, evaluate, solve
from bidclick_gym.evaluators import ReturnEvaluator
from bidclick_gym.logs.datasets import to_replay_buffer
from icac_algo import ColumnarReplayBuffer, check_prior, select_by_bellman_error

from ..auction.cells import digest_of
from ..auction.measures import GRID
from ..engine import run_cells, write_rows
from ..learners import fit_quietly
from ..paper.critic_views import CriticView
from .cells import BUDGET_POINTS, NODES, CampaignBidder, log_of
from .choice_candidates import TASKS, Candidate, ProximalQ
from .choice_report import draw, section

__all__ = [
    "COLUMNS",
    "ChoiceCell",
    "joined",
    "measure",
    "planned",
    "run",
    "section",
]

COLUMNS = (
    "task",
    "fraction",
    "seed",
    "steps",
    "candidate",
    "is_false",
    "regret",
    "regret_projected",
    "final_lambda",
    "error",
    "difference",
    "standard_error",
    "own_error",
    "p_value",
    "rejected",
    "by_error",
    "by_lowest",
    "by_own",
    "by_prior",
    "by_both",
)
SCORES = "scores"
LEVEL = 0.05
#: Raise when training or measuring changes.
FORMAT = 1


@dataclasses.dataclass(frozen=True)
class ChoiceCell:
    """What to run.

    Args:
        task: a name in ``TASKS``.
        fraction: share of the log.
        part: ``"scores"`` of all candidates, or the candidate to train on all of it.
        seed: draws the log, its share, the folds and the training.
        steps: gradient steps of each training.
    """

    task: str
    fraction: float
    part: str
    seed: int = 0
    steps: int = 1000

    @property
    def algorithm(self) -> str:
        """What a progress bar shows."""
        return f"{self.task}: {self.part}"

    @property
    def digest(self) -> str:
        """Name of the cell's file."""
        candidates = TASKS[self.task].candidates
        names = candidates if self.part == SCORES else [self.part]
        made = {}
        for name in names:
            config = candidates[name].make(self.steps)
            made[name] = {"type": config.get_type(), **config.serialize_to_dict()}
        return digest_of({"choice": FORMAT, "made": made, **dataclasses.asdict(self)})


# -- measuring ---------------------------------------------------------------


def measure(cell: ChoiceCell) -> list[dict[str, Any]]:
    """Scores of every candidate, a row each; or one row, of a trained one."""
    return _scores(cell) if cell.part == SCORES else [_training(cell)]


def _row(cell: ChoiceCell, name: str) -> dict[str, Any]:
    return {
        "task": cell.task,
        "fraction": cell.fraction,
        "seed": cell.seed,
        "steps": cell.steps,
        "candidate": name,
    }


def _scores(cell: ChoiceCell) -> list[dict[str, Any]]:
    choosable = {
        name: candidate
        for name, candidate in TASKS[cell.task].candidates.items()
        if not candidate.is_rival
    }

    def maker(candidate: Candidate) -> Callable[[], Any]:
        return lambda: candidate.make(cell.steps).create(device="cpu:0")

    dataset = _dataset(cell)
    found = select_by_bellman_error(
        dataset,
        {name: maker(candidate) for name, candidate in choosable.items()},
        cell.steps,
        seed=cell.seed,
        show_progress=False,
    )
    checks = {
        name: check_prior(dataset, candidate.shape, level=LEVEL)
        for name, candidate in choosable.items()
        if candidate.shape is not None
    }
    kept = [name for name, check in checks.items() if not check.rejected]
    chosen = {
        "by_error": found.best,
        "by_lowest": found.lowest,
        "by_own": found.names[int(found.own_errors.argmin())],
        # Nothing is asked of no shape, so one is always left.
        "by_prior": kept[0] if kept else None,
        "by_both": found.among(kept).best if kept else None,
    }
    return [
        {
            **_row(cell, name),
            "error": float(found.errors[i]),
            "difference": float(found.differences[i]),
            "standard_error": float(found.standard_errors[i]),
            "own_error": float(found.own_errors[i]),
            "p_value": checks[name].p_value if name in checks else None,
            "rejected": int(checks[name].rejected) if name in checks else None,
            **{
                rule: None if choice is None else int(choice == name)
                for rule, choice in chosen.items()
            },
        }
        for i, name in enumerate(found.names)
    ]


def _training(cell: ChoiceCell) -> dict[str, Any]:
    import d3rlpy

    candidate = TASKS[cell.task].candidates[cell.part]
    dataset = _dataset(cell)
    d3rlpy.seed(cell.seed)
    algo = candidate.make(cell.steps).create(device="cpu:0")
    fit_quietly(algo, dataset, cell.steps, epochs=1)
    is_proximal = isinstance(algo, ProximalQ)
    projected = CriticView(algo, "exact") if is_proximal else None
    return {
        **_row(cell, cell.part),
        "is_false": int(candidate.is_false),
        "regret": _regret(cell, algo),
        "regret_projected": None if projected is None else _regret(cell, projected),
        "final_lambda": algo.multiplier if is_proximal else None,
    }


def _dataset(cell: ChoiceCell) -> ColumnarReplayBuffer:
    if not TASKS[cell.task].is_campaign:
        log = simulate_log(Auction(), seed=cell.seed)
        return to_replay_buffer(log, cell.fraction, cell.seed)
    return to_replay_buffer(log_of("unpaced", cell.seed), cell.fraction, cell.seed)


def _regret(cell: ChoiceCell, model: Any) -> float:
    if not TASKS[cell.task].is_campaign:
        auction = Auction()
        return auction.optimal_value(GRID) - ReturnEvaluator(auction, GRID)(model)
    campaign = BudgetedCampaign()
    grid = {"nodes": NODES, "budget_points": BUDGET_POINTS}
    value = evaluate(CampaignBidder(model, campaign), campaign, **grid)
    return solve(campaign, **grid).optimal_value - value


# -- running -----------------------------------------------------------------


def planned(seeds: int, steps: int) -> list[ChoiceCell]:
    """All cells, seed by seed.

    Args:
        seeds: how many.
        steps: gradient steps on campaigns; single impressions, along which no value has
            to travel, take a third.
    """
    return [
        ChoiceCell(
            name, fraction, part, seed, steps if task.is_campaign else -(-steps // 3)
        )
        for seed in range(seeds)
        for name, task in TASKS.items()
        for fraction in task.fractions
        for part in (SCORES, *task.candidates)
    ]


def joined(rows: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
    """One row for each task, share, seed and candidate, with every column."""
    found: dict[tuple[Any, ...], dict[str, Any]] = {}
    for row in rows:
        key = row["task"], row["fraction"], row["seed"], row["candidate"]
        found.setdefault(key, dict.fromkeys(COLUMNS)).update(row)
    order = [(task, name) for task in TASKS for name in TASKS[task].candidates]
    return sorted(
        found.values(),
        key=lambda row: (
            order.index((row["task"], row["candidate"])),
            -row["fraction"],
            row["seed"],
        ),
    )


def run(seeds: int, steps: int, workers: int, out: pathlib.Path) -> None:
    """Runs what is missing; writes ``choice.csv`` and ``choice.png``."""
    cells: Sequence[ChoiceCell] = planned(seeds, steps)
    rows = joined(run_cells(cells, out / "cells", workers, measure))
    write_rows(out / "choice.csv", COLUMNS, rows)
    draw(rows, out / "choice.png")
