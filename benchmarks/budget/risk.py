"""Bidders who fear bad campaigns: learned from quantiles, against the exact frontier.

Critics learn the distribution of what is still to come; a bidder takes the bid whose
worst share of that is best.  Mean and CVaR of whole campaigns are exact for every policy,
and so is the frontier between the two.
"""

from __future__ import annotations

import dataclasses
import pathlib
from collections.abc import Callable, Sequence
from typing import Any

import d3rlpy
import numpy as np
import numpy.typing as npt
from d3rlpy.models.q_functions import QFunctionFactory, QRQFunctionFactory
from d3rlpy.preprocessing import RewardScaler, StandardRewardScaler
from matplotlib.figure import Figure

from bidclick_gym.budget import (
    BudgetedCampaign,
    PacedPolicy,
    ProfitDistribution,
    UnpacedPolicy,
    profit_distribution,
    solve,
    solve_risk,
)
from icac_algo import (
    AfterstateQRQFunctionFactory,
    Concave,
    CVaR,
    MonotoneConcave,
    ShapedQRQFunctionFactory,
)

from ..algorithms import shared_settings
from ..cells import digest_of
from ..files import write_png, write_rows
from ..intervals import bootstrap_mean, paired_difference
from ..sweep import run_cells
from ..verdicts import MIN_SEEDS
from .algorithms import GAMMA, LAG, afterstates
from .cells import train_on_log

__all__ = [
    "COLUMNS",
    "LEARNERS",
    "LEVELS",
    "ExactCell",
    "RiskBidder",
    "RiskCell",
    "measure",
    "planned",
    "run",
    "section",
    "verdicts",
]

#: What a bidder is greedy for: the mean of this worst share; 1 is the mean.
LEVELS = (0.1, 0.25, 0.5, 0.75, 1.0)
#: What campaigns are measured by.
MEASURED = (0.1, 0.25, 0.5)
#: Of CVaR at the first level against the mean, along the exact frontier.
WEIGHTS = (0.0, 0.25, 0.5, 0.75, 0.9, 0.99, 1.0)
COLUMNS = (
    "policy",
    "level",
    "weight",
    "seed",
    "steps",
    "mean",
    "std",
    *(f"cvar_{level:g}" for level in MEASURED),
    "train_seconds",
)
#: Rewards are centred and of this spread.  The quantile Huber loss of d3rlpy is that of
#: quantiles only beyond errors of 1; at a spread of .5, as elsewhere, critics learn that
#: returns spread no more than one reward.
SCALE = 10.0
#: Raise when training or measuring changes.
FORMAT = 1


def _free(scaler: RewardScaler) -> QFunctionFactory:
    return QRQFunctionFactory()


def _concave(scaler: RewardScaler) -> QFunctionFactory:
    return ShapedQRQFunctionFactory(constraint=Concave(), scale=SCALE)


def _afterstates(scaler: RewardScaler) -> QFunctionFactory:
    mean = afterstates(MonotoneConcave(), MonotoneConcave())
    return AfterstateQRQFunctionFactory(
        mean=dataclasses.replace(mean, scale=SCALE, reward_scaler=scaler)
    )


#: DQN with 32 quantiles, by critic; each made from the reward scaler.
LEARNERS: dict[str, Callable[[RewardScaler], QFunctionFactory]] = {
    "DQN quantiles": _free,
    "DQN concave quantiles": _concave,
    "DQN shaped afterstate quantiles": _afterstates,
}


@dataclasses.dataclass(frozen=True)
class RiskCell:
    """One learner on one log, bidding for every level.

    Args:
        learner: a name in ``LEARNERS``.
        seed: draws the log and the training.
        steps: gradient steps.
        log: a name in ``LOGGERS``.
        fraction: share of the log's campaigns.
        nodes: of the exact distribution, in each direction of the context.
        budget_points: of the exact distribution.
    """

    learner: str
    seed: int = 0
    steps: int = 2000
    log: str = "unpaced"
    fraction: float = 1.0
    nodes: int = 12
    budget_points: int = 101

    @property
    def algorithm(self) -> str:
        """What a progress bar shows."""
        return self.learner

    @property
    def digest(self) -> str:
        """Name of the cell's file."""
        config = self.config()
        made = {"type": config.get_type(), "params": config.serialize_to_dict()}
        return digest_of({"risk": FORMAT, "config": made, **dataclasses.asdict(self)})

    def config(self) -> Any:
        """The d3rlpy config."""
        scaler = StandardRewardScaler(multiplier=SCALE)
        return d3rlpy.algos.DQNConfig(
            gamma=GAMMA,
            target_update_interval=round(LAG),
            reward_scaler=scaler,
            q_func_factory=LEARNERS[self.learner](scaler),
            **shared_settings(self.steps),
        )


@dataclasses.dataclass(frozen=True)
class ExactCell:
    """A policy that nobody has to learn.

    Args:
        policy: ``"frontier"`` for the best of all at a weight, ``"optimum"`` for that of
            the mean, which knows the clock but not the clicks, or a logger.
        weight: of CVaR, for the frontier.
        nodes: quadrature nodes in each direction of the context.
        budget_points: budgets on the grid.
    """

    policy: str
    weight: float | None = None
    nodes: int = 12
    budget_points: int = 201

    @property
    def algorithm(self) -> str:
        """What a progress bar shows."""
        return self.policy

    @property
    def digest(self) -> str:
        """Name of the cell's file."""
        return digest_of({"risk": FORMAT, **dataclasses.asdict(self)})


class RiskBidder:
    """The bid that can be paid and whose worst share of returns is best, as a policy.

    Args:
        algo: a fitted d3rlpy algorithm with critics of quantiles.
        campaign: what is played.
        level: the share, in (0, 1]; 1 bids for the mean.
    """

    def __init__(self, algo: Any, campaign: BudgetedCampaign, level: float):
        self._impl, self._campaign, self._risk = algo.impl, campaign, CVaR(level)

    def __call__(self, observations: npt.NDArray[np.float32]) -> npt.NDArray[np.int64]:
        import torch

        impl = self._impl
        impl.modules.set_eval()
        with torch.no_grad():
            x = torch.as_tensor(observations, device=impl.device)
            worth = [self._worth(q_func(x)) for q_func in impl.q_function]
            values = torch.stack(worth).mean(dim=0).cpu().double().numpy()
        _, c, b, _ = self._campaign.read(observations)
        is_paid = self._campaign.is_affordable(c, b)
        return np.asarray(np.where(is_paid, values, -np.inf).argmax(axis=1))

    def _worth(self, output: Any) -> Any:
        # The mean of rounded quantiles would break the ties of a shaped mean.
        return output.q_value if self._risk.level == 1.0 else self._risk(output.quantiles)


def planned(seeds: int, steps: int) -> list[RiskCell | ExactCell]:
    """All cells: what is exact, then seed by seed."""
    cells: list[RiskCell | ExactCell] = [
        *(ExactCell(name) for name in ("optimum", "unpaced logger", "paced logger")),
        *(ExactCell("frontier", weight) for weight in WEIGHTS),
    ]
    cells += [RiskCell(name, seed, steps) for seed in range(seeds) for name in LEARNERS]
    return cells


def measure(cell: RiskCell | ExactCell) -> list[dict[str, Any]]:
    """One row for each level that is bid for, or for the policy."""
    campaign = BudgetedCampaign()
    if isinstance(cell, ExactCell):
        found = _exact(cell, campaign)
        return [_row(found, policy=cell.policy, weight=cell.weight)]
    algo, seconds = train_on_log(cell)
    rows = []
    for level in LEVELS:
        found = profit_distribution(
            RiskBidder(algo, campaign, level),
            campaign,
            nodes=cell.nodes,
            budget_points=cell.budget_points,
        )
        about = {"policy": cell.learner, "seed": cell.seed, "steps": cell.steps}
        rows.append(_row(found, **about, level=level, train_seconds=seconds))
    return rows


def _exact(cell: ExactCell, campaign: BudgetedCampaign) -> ProfitDistribution:
    grid: dict[str, int] = {"nodes": cell.nodes, "budget_points": cell.budget_points}
    if cell.policy == "frontier":
        assert cell.weight is not None
        return solve_risk(LEVELS[0], cell.weight, campaign, **grid).distribution
    policies: dict[str, Callable[[], Any]] = {
        "optimum": lambda: solve(campaign, **grid).greedy,
        "unpaced logger": lambda: UnpacedPolicy(campaign).probabilities_of,
        "paced logger": lambda: PacedPolicy(campaign).probabilities_of,
    }
    return profit_distribution(policies[cell.policy](), campaign, **grid)


def _row(found: ProfitDistribution, **about: Any) -> dict[str, Any]:
    return {
        **dict.fromkeys(COLUMNS),
        **about,
        "mean": found.mean,
        "std": found.std,
        **{f"cvar_{level:g}": found.cvar(level) for level in MEASURED},
    }


def run(seeds: int, steps: int, workers: int, out: pathlib.Path) -> None:
    """Runs what is missing; writes ``risk.csv`` and ``risk.png``."""
    rows = run_cells(planned(seeds, steps), out / "cells", workers, measure)
    write_rows(out / "risk.csv", COLUMNS, rows)
    _draw(rows, out / "risk.png")


# -- from rows -----------------------------------------------------------------------

Rows = Sequence[dict[str, Any]]


def _by_seed(rows: Rows, name: str, level: float, column: str) -> dict[int, float]:
    return {
        int(row["seed"]): float(row[column])
        for row in rows
        if row["policy"] == name and row["level"] == level
    }


def _of_exact(rows: Rows, policy: str, weight: float | None = None) -> dict[str, Any]:
    return next(r for r in rows if r["policy"] == policy and r["weight"] == weight)


def _learners(rows: Rows) -> list[str]:
    return [name for name in LEARNERS if any(row["policy"] == name for row in rows)]


def section(rows: Rows) -> str:
    """The part of the report, from the rows alone."""
    said = "\n".join(f"- {line}" for line in verdicts(rows))
    steps = sorted({int(row["steps"]) for row in rows if row["steps"] is not None})
    seeds = sorted({len(_by_seed(rows, n, 1.0, "mean")) for n in _learners(rows)})
    return f"""## Risk

{said}

![Mean against CVaR of learned bidders and of the exact frontier](risk.png)

{_learned_table(rows)}

{_exact_table(rows)}

DQN with 32 quantiles, rewards scaled to a spread of {SCALE:g}, the whole unpaced log,
{_joined(steps)} gradient steps, {_joined(seeds)} seeds, each its own log and training.
*Bids for*: the worst share of returns whose mean a bidder compares, at every impression,
for the bids that can be paid; 1 is the mean. CVaR is that of a whole campaign's profit,
the mean of its worst share. Mean and CVaR are exact for every policy, nothing is
simulated. The frontier is the best of `(1 - weight) * mean + weight * CVaR .1` over all
policies that also see the clicks so far; at weight 1 it does not care what good campaigns
earn.
"""


def verdicts(rows: Rows) -> list[str]:
    """Sentences, each decided by the figures it quotes."""
    column = f"cvar_{LEVELS[0]:g}"
    best, safest = _of_exact(rows, "optimum"), _of_exact(rows, "frontier", WEIGHTS[-1])
    gain = float(safest[column]) - float(best[column])
    price = float(best["mean"]) - float(safest["mean"])
    lines = [
        f"Exactly: the best CVaR .1 is {float(safest[column]):.3f}, {gain:.3f} more than "
        f"that of the best mean, and costs {price:.3f} of the mean."
    ]
    for name in _learners(rows):
        lines.append(_effect(rows, name, column, gain))
    return lines


def _effect(rows: Rows, name: str, column: str, gain: float) -> str:
    low, high = LEVELS[0], LEVELS[-1]
    change = paired_difference(
        _by_seed(rows, name, low, column), _by_seed(rows, name, high, column)
    )
    mean = paired_difference(
        _by_seed(rows, name, low, "mean"), _by_seed(rows, name, high, "mean")
    )
    figures = (
        f"CVaR .1 changes by {change.format(3)}, the mean by {mean.format(3)} "
        f"({change.seeds} seeds)"
    )
    if change.seeds < MIN_SEEDS:
        return f"*{name}*: too few seeds to tell. {figures}."
    if change.low > 0.0:
        share = f"{100.0 * change.mean / gain:.0f} % of the exact gain"
        return f"*{name}*: bidding for the worst 10 % raises CVaR. {figures}; {share}."
    if change.high < 0.0:
        return f"*{name}*: bidding for the worst 10 % **lowers** CVaR. {figures}."
    hidden = (
        f"; the interval is wider than the exact gain of {gain:.3f}"
        if change.high - change.low > gain
        else ""
    )
    return f"*{name}*: **no difference can be told**. {figures}{hidden}."


def _learned_table(rows: Rows) -> str:
    names = [f"CVaR {level:g}" for level in MEASURED]
    lines = [_line(["Learner", "Bids for", "Mean", *names]), _line(["---"] * 6)]
    for name in _learners(rows):
        for level in LEVELS[::-1]:
            cells = [name, f"{level:g}"]
            for column in ("mean", *(f"cvar_{each:g}" for each in MEASURED)):
                values = _by_seed(rows, name, level, column)
                cells.append(bootstrap_mean(list(values.values())).format(3))
            lines.append(_line(cells))
    return "\n".join(lines)


def _exact_table(rows: Rows) -> str:
    names = [f"CVaR {level:g}" for level in MEASURED]
    lines = [_line(["Exact policy", "Mean", *names]), _line(["---"] * 5)]
    for row in rows:
        if row["seed"] is not None:
            continue
        name = str(row["policy"])
        if name == "optimum":
            name = "optimum of the mean"
        if row["weight"] is not None:
            name = f"frontier, weight {row['weight']:g}"
        columns = ("mean", *(f"cvar_{level:g}" for level in MEASURED))
        lines.append(_line([name, *(f"{float(row[c]):.3f}" for c in columns)]))
    return "\n".join(lines)


def _line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _joined(numbers: Sequence[int]) -> str:
    return " or ".join(f"{number:,}" for number in numbers)


def _draw(rows: Rows, path: pathlib.Path) -> None:
    column = f"cvar_{LEVELS[0]:g}"
    frontier = [row for row in rows if row["policy"] == "frontier"]
    points = [(float(row[column]), float(row["mean"])) for row in frontier]
    figure = Figure(figsize=(9.6, 4.0), layout="constrained")
    axes = figure.subplots(1, 2, width_ratios=(3, 2))
    for axis in axes:
        x, y = zip(*points, strict=True)
        axis.plot(x, y, "-", color="black", linewidth=1.5, marker=".", label="frontier")
        axis.set_xlabel("CVaR .1, clicks a campaign")
        axis.grid(color="0.92")
    colors = ("tab:gray", "tab:orange", "tab:blue")
    for color, name in zip(colors, _learners(rows), strict=False):
        safe, mean = (
            [bootstrap_mean(list(_by_seed(rows, name, lv, c).values())) for lv in LEVELS]
            for c in (column, "mean")
        )
        left = axes[0]
        left.plot([s.mean for s in safe], [m.mean for m in mean], color=color, label=name)
        for level, s, m in zip(LEVELS, safe, mean, strict=True):
            left.plot([s.low, s.high], [m.mean] * 2, color=color, alpha=0.4)
            left.plot([s.mean] * 2, [m.low, m.high], color=color, alpha=0.4)
            left.plot(s.mean, m.mean, "o", color=color, markersize=9.0 - 5.0 * level)
    for policy, marker in (("unpaced logger", "x"), ("paced logger", "+")):
        row = _of_exact(rows, policy)
        at = float(row[column]), float(row["mean"])
        axes[0].plot(*at, marker, color="black", label=policy)
    axes[0].set_ylabel("mean, clicks a campaign")
    axes[0].set_title("Learned; larger: bids for a smaller share", fontsize=9)
    axes[0].legend(fontsize=7, frameon=False)
    for row, at in zip(frontier, points, strict=True):
        label = f"{float(row['weight']):g}"
        axes[1].annotate(
            label,
            at,
            xytext=(-5, -3),
            textcoords="offset points",
            fontsize=7,
            ha="right",
            va="top",
        )
    axes[1].set_title("The exact frontier, by weight of CVaR", fontsize=9)
    write_png(path, figure)
