"""Bidders who fear bad campaigns: learned from quantiles, against the exact frontier.

Critics learn the distribution of what is still to come; a bidder takes the bid whose
worst share of that is best.  Mean and CVaR of whole campaigns are exact for every policy,
and so is the frontier between the two.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import d3rlpy
from d3rlpy.models.q_functions import QFunctionFactory, QRQFunctionFactory
from d3rlpy.preprocessing import RewardScaler, StandardRewardScaler
from matplotlib.figure import Figure

from bidclick_gym import campaigns
from icac_algo import Concave, MonotoneConcave, ShapedQFunctionFactory

from ..engine import Cell, Part, Settings
from ..engine.intervals import MIN_SEEDS, bootstrap_mean, paired_difference
from ..engine.markdown import bullets, interval, section, table
from ..engine.pictures import subplots
from ..engine.rows import Row, Rows, by_seed, distinct, select
from ..learners import shared_settings
from ..learners.campaigns import GAMMA, LAG, afterstates
from .training import LOGGERS, CampaignBidder, train

#: What a bidder is greedy for: the mean of this worst share; 1 is the mean.
LEVELS = (0.1, 0.25, 0.5, 0.75, 1.0)
#: What campaigns are measured by.
MEASURED = (0.1, 0.25, 0.5)
#: Of CVaR at the first level against the mean, along the exact frontier.
WEIGHTS = (0.0, 0.25, 0.5, 0.75, 0.9, 0.99, 1.0)
#: Rewards are centred and of this spread.  The quantile Huber loss of d3rlpy is that of
#: quantiles only beyond errors of 1; at a spread of 0.5, as elsewhere, critics learn that
#: returns spread no more than one reward.
SCALE = 10.0
FIGURES = ("mean", *(f"cvar_{level:g}" for level in MEASURED))
CVAR = FIGURES[1]

#: DQN with 32 quantiles, by critic, with its colour.
LEARNERS = {
    "DQN quantiles": "tab:gray",
    "DQN concave quantiles": "tab:orange",
    "DQN shaped afterstate quantiles": "tab:blue",
}


def _factory(name: str, scaler: RewardScaler) -> QFunctionFactory:
    if name == "DQN quantiles":
        return QRQFunctionFactory()
    if name == "DQN concave quantiles":
        return ShapedQFunctionFactory(Concave(), n_quantiles=32, scale=SCALE)
    return ShapedQFunctionFactory(
        MonotoneConcave(),
        afterstates(MonotoneConcave()),
        n_quantiles=32,
        scale=SCALE,
        reward_scaler=scaler,
    )


def _cells(settings: Settings) -> Iterable[Cell]:
    """What is exact, then seed by seed."""
    exact: dict[str, Any] = {"nodes": 12, "budget_points": 201}
    for name in ("optimum", *(f"{name} logger" for name in LOGGERS)):
        yield Cell.of("risk", name, **exact)
    for weight in WEIGHTS:
        yield Cell.of("risk", "frontier", weight=weight, **exact)
    for seed in range(settings["extra_seeds"]):
        for name in LEARNERS:
            where = {"log": "unpaced", "fraction": 1.0, "steps": settings.steps}
            yield Cell.of("risk", name, seed, nodes=12, budget_points=101, **where)


def _config(cell: Cell) -> Any:
    if cell.learner not in LEARNERS:
        return None
    scaler = StandardRewardScaler(multiplier=SCALE)
    return d3rlpy.algos.DQNConfig(
        gamma=GAMMA,
        target_update_interval=round(LAG),
        reward_scaler=scaler,
        q_func_factory=_factory(cell.learner, scaler),
        **shared_settings(cell["steps"]),
    )


def _measure(cell: Cell) -> Rows:
    """One row for each level that is bid for, or for the policy."""
    campaign = campaigns.BudgetedCampaign()
    grid = {"nodes": cell["nodes"], "budget_points": cell["budget_points"]}
    if cell.learner not in LEARNERS:
        return [{**_figures(_exact(cell, campaign, grid)), "seed": None}]
    algo, seconds = train(cell, _config(cell))
    rows = []
    for level in LEVELS:
        bidder = CampaignBidder(algo, level=level)
        figures = _figures(campaigns.profit_distribution(bidder, campaign, **grid))
        rows.append({**figures, "level": level, "train_seconds": seconds})
    return rows


def _exact(
    cell: Cell, campaign: campaigns.BudgetedCampaign, grid: dict[str, int]
) -> campaigns.ProfitDistribution:
    """Of the best of all at a weight, of the optimum of the mean, or of a logger."""
    if cell.learner == "frontier":
        return campaigns.solve_risk(
            LEVELS[0], cell["weight"], campaign, **grid
        ).distribution
    if cell.learner == "optimum":
        policy: Any = campaigns.solve(campaign, **grid).greedy
    else:
        policy = LOGGERS[cell.learner.split()[0]](campaign).probabilities_of
    return campaigns.profit_distribution(policy, campaign, **grid)


def _figures(found: campaigns.ProfitDistribution) -> Row:
    cvar = {f"cvar_{level:g}": found.cvar(level) for level in MEASURED}
    return {"mean": found.mean, "std": found.std, **cvar}


RISK = Part(
    "risk",
    (
        *("policy", "level", "weight", "seed", "steps"),
        *("mean", "std", *FIGURES[1:], "train_seconds"),
    ),
    _cells,
    _measure,
    _config,
    learner="policy",
)


# -- report ------------------------------------------------------------------


def _learners(rows: Rows) -> list[str]:
    return [name for name in LEARNERS if select(rows, policy=name)]


def risk_section(rows: Rows) -> str:
    columns = [f"CVaR {level:g}" for level in MEASURED]
    learned = [
        [
            name,
            f"{level:g}",
            *(interval(by_seed(rows, c, policy=name, level=level), 3) for c in FIGURES),
        ]
        for name in _learners(rows)
        for level in LEVELS[::-1]
    ]
    exact = [
        [_named(row), *(f"{row[column]:.3f}" for column in FIGURES)]
        for row in select(rows, seed=None)
    ]
    trained = [row for row in rows if row["seed"] is not None]
    steps = " or ".join(f"{int(n):,}" for n in sorted(distinct(trained, "steps")))
    counts = {len(distinct(select(rows, policy=n), "seed")) for n in _learners(rows)}
    seeds = " or ".join(str(count) for count in sorted(counts))
    return section(
        "Risk",
        bullets(verdicts(rows)),
        "![Mean against CVaR of learned bidders and of the exact frontier](risk.png)",
        table(["Learner", "Bids for", "Mean", *columns], learned),
        table(["Exact policy", "Mean", *columns], exact),
        f"""\
DQN with 32 quantiles, rewards scaled to a spread of {SCALE:g}, the whole unpaced log,
{steps} gradient steps, {seeds} seeds, each its own log and training.
*Bids for*: the worst share of returns whose mean a bidder compares, at every impression,
for the bids that can be paid; 1 is the mean. CVaR is that of a whole campaign's profit,
the mean of its worst share. Mean and CVaR are exact for every policy, nothing is
simulated. The frontier is the best of `(1 - weight) * mean + weight * CVaR 0.1` over all
policies that also see the clicks so far; at weight 1 it does not care what good campaigns
earn.""",
    )


def _named(row: Row) -> str:
    if row["policy"] == "frontier":
        return f"frontier, weight {row['weight']:g}"
    return "optimum of the mean" if row["policy"] == "optimum" else str(row["policy"])


def verdicts(rows: Rows) -> Iterable[str]:
    (best,) = select(rows, policy="optimum")
    (safest,) = select(rows, policy="frontier", weight=WEIGHTS[-1])
    gain = safest[CVAR] - best[CVAR]
    yield (
        f"Exactly: the best CVaR 0.1 is {safest[CVAR]:.3f}, {gain:.3f} more than that of "
        f"the best mean, and costs {best['mean'] - safest['mean']:.3f} of the mean."
    )
    for name in _learners(rows):
        low, high = (
            select(rows, policy=name, level=level) for level in (LEVELS[0], LEVELS[-1])
        )
        change, mean = (
            paired_difference(by_seed(low, column), by_seed(high, column))
            for column in (CVAR, "mean")
        )
        figures = (
            f"CVaR 0.1 changes by {change.format(3)}, the mean by {mean.format(3)} "
            f"({change.seeds} seeds)"
        )
        if change.seeds < MIN_SEEDS:
            yield f"*{name}*: too few seeds to tell. {figures}."
        elif change.low > 0.0:
            share = f"{100.0 * change.mean / gain:.0f} % of the exact gain"
            yield (
                f"*{name}*: bidding for the worst 10 % raises CVaR. {figures}; {share}."
            )
        elif change.high < 0.0:
            yield f"*{name}*: bidding for the worst 10 % **lowers** CVaR. {figures}."
        else:
            hidden = f"; the interval is wider than the exact gain of {gain:.3f}"
            more = hidden if change.high - change.low > gain else ""
            yield f"*{name}*: **no difference can be told**. {figures}{more}."


def draw(rows: Rows) -> Figure:
    """Mean against CVaR of learned bidders and of the exact frontier."""
    frontier = select(rows, policy="frontier")
    points = [(row[CVAR], row["mean"]) for row in frontier]
    figure, ((left, right),) = subplots(9.6, 4.0, columns=2, width_ratios=(3, 2))
    for axis in (left, right):
        axis.plot(*zip(*points, strict=True), ".-", color="black", label="frontier")
        axis.set_xlabel("CVaR 0.1, clicks a campaign")
        axis.grid(color="0.92")
    for name in _learners(rows):
        colour = LEARNERS[name]
        safe, mean = (
            [
                bootstrap_mean(by_seed(rows, c, policy=name, level=level))
                for level in LEVELS
            ]
            for c in (CVAR, "mean")
        )
        left.plot(
            [s.mean for s in safe], [m.mean for m in mean], color=colour, label=name
        )
        for level, s, m in zip(LEVELS, safe, mean, strict=True):
            left.plot([s.low, s.high], [m.mean] * 2, color=colour, alpha=0.4)
            left.plot([s.mean] * 2, [m.low, m.high], color=colour, alpha=0.4)
            left.plot(s.mean, m.mean, "o", color=colour, markersize=9.0 - 5.0 * level)
    for log, marker in zip(LOGGERS, ("x", "+"), strict=True):
        (row,) = select(rows, policy=f"{log} logger")
        left.plot(row[CVAR], row["mean"], marker, color="black", label=row["policy"])
    left.set_ylabel("mean, clicks a campaign")
    left.set_title("Learned; larger: bids for a smaller share", fontsize=9)
    left.legend(fontsize=7, frameon=False)
    style: dict[str, Any] = {"fontsize": 7, "ha": "right", "va": "top"}
    for row, at in zip(frontier, points, strict=True):
        words = f"{row['weight']:g}"
        right.annotate(words, at, (-5, -3), textcoords="offset points", **style)
    right.set_title("The exact frontier, by weight of CVaR", fontsize=9)
    return figure
