"""Policies worth knowing beside learned ones, and what some learned ones do.

Exact values of all that nobody has to learn; bids, worth of the budget and spending of
the optimum, the loggers and a few learners.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
import numpy.typing as npt
from matplotlib.figure import Figure

from bidclick_gym.auction import expected_reward
from bidclick_gym.campaigns import BudgetedCampaign, evaluate, simulate, solve

from ..engine import Cell, Part, Settings
from ..engine.markdown import section, table
from ..engine.pictures import heat, subplots
from ..engine.rows import Rows, distinct, select
from ..engine.tuning import best_settings
from ..learners import CAMPAIGN_LEARNERS
from .training import LOGGERS, TUNED, CampaignBidder, learner_depends, train_learner

#: Learners that are drawn beside the optimum.
LEARNED = ("CQL", "Ours shaped afterstates", "Ours shaped afterstates relabelled")
#: The context in which bids are drawn: the middle of all.
MIDDLE = (0.5, 0.3)
#: Budgets at which they are drawn.
POINTS = 41
FINE_GRID = {"nodes": 16, "budget_points": 1001}
CAMPAIGNS = 2000

Policy = Callable[[npt.NDArray[np.float32]], Any]
Map = npt.NDArray[np.float64]


def _constant(index: int) -> Policy:
    return lambda observations: np.full(len(observations), index)


def _myopic(campaign: BudgetedCampaign) -> Policy:
    def policy(observations: npt.NDArray[np.float32]) -> npt.NDArray[np.int64]:
        x, c, _, _ = campaign.read(observations)
        rewards = expected_reward(x[:, None], c[:, None], campaign.auction.bid_array)
        return rewards.argmax(axis=1)

    return policy


def _unlearned(campaign: BudgetedCampaign) -> dict[str, Policy]:
    loggers = {
        f"{name} logger": logger(campaign).probabilities_of
        for name, logger in LOGGERS.items()
    }
    constant = {f"always bid {b:g}": _constant(i) for i, b in enumerate(campaign.bids)}
    return {**loggers, **constant, "best bid of the moment": _myopic(campaign)}


def _cells(settings: Settings) -> Iterable[Cell]:
    yield Cell.of("policies", "optimum")
    log = settings["logs"][0]
    tuned = best_settings(TUNED, log=log)
    for name in LEARNED:
        if name in settings["learners"]:
            where: dict[str, Any] = {"log": log, "tuned": tuned.get(name, ())}
            yield Cell.of("policies", name, fraction=1.0, steps=settings.steps, **where)
    for name in _unlearned(BudgetedCampaign()):
        yield Cell.of("policies", name)


def _config(cell: Cell) -> Any:
    return learner_depends(cell) if cell.learner in CAMPAIGN_LEARNERS else None


def _measure(cell: Cell) -> Rows:
    """One row with the value, and for what is drawn one for every impression played."""
    campaign, name = BudgetedCampaign(), cell.learner
    if name in CAMPAIGN_LEARNERS:
        algo, _ = train_learner(cell)
        bidder = CampaignBidder(algo, CAMPAIGN_LEARNERS[name].policy)
        return _drawn(bidder, bidder.values, campaign)
    if name == "optimum":
        value = solve(campaign, **FINE_GRID).optimal_value
        solution = solve(campaign)
        return [{"value": value}, *_drawn(solution.greedy, solution.q_values, campaign)]
    policy = _unlearned(campaign)[name]
    rows: Rows = [{"value": evaluate(policy, campaign, **FINE_GRID)}]
    return [*rows, *_drawn(policy, None, campaign)] if "logger" in name else rows


def _drawn(policy: Policy, values: Policy | None, campaign: BudgetedCampaign) -> Rows:
    left = simulate(policy, campaign, CAMPAIGNS, seed=0)["budget_left"]
    low, high = np.quantile(left, [0.1, 0.9], axis=0)
    rows: Rows = [
        {"played": i, "left": mean, "left_low": low[i], "left_high": high[i]}
        for i, mean in enumerate(left.mean(axis=0))
    ]
    if values is not None:
        maps = bid_map(policy, campaign), worth_map(values, campaign)
        # Maps begin with the last impression.
        for row, bids, worth in zip(rows, *(each[::-1] for each in maps), strict=False):
            row["bids"] = " ".join(f"{bid:g}" for bid in bids)
            row["worth"] = " ".join(f"{clicks:.3f}" for clicks in worth)
    return rows


def _middle(campaign: BudgetedCampaign) -> npt.NDArray[np.float32]:
    """Observations of the middle context, ``(T * P, 4)``: by clock, then by budget."""
    budgets = np.linspace(0.0, campaign.budget, POINTS)
    b, k = np.meshgrid(budgets, np.arange(1, campaign.impressions + 1))
    return campaign.observe(*MIDDLE, b.ravel(), k.ravel())


def bid_map(policy: Policy, campaign: BudgetedCampaign) -> Map:
    """Bids in the middle context over impressions to come and budget left, ``(T, P)``."""
    chosen = np.asarray(policy(_middle(campaign))).reshape(-1, POINTS)
    return campaign.auction.bid_array[chosen]


def worth_map(values: Policy, campaign: BudgetedCampaign) -> Map:
    """What the budget is worth in the middle context, ``(T, P)``, in clicks.

    The largest value of a bid, minus that without a budget: a critic may be wrong by a
    constant and bid well.
    """
    best = np.asarray(values(_middle(campaign))).max(axis=1).reshape(-1, POINTS)
    return np.asarray(best - best[:, :1])


POLICIES = Part(
    "policies",
    ("policy", "value", "played", "left", "left_low", "left_high", "bids", "worth"),
    _cells,
    _measure,
    _config,
    learner="policy",
)


# -- report ------------------------------------------------------------------


def policy_section(rows: Rows) -> str:
    known = [row for row in rows if row["value"] is not None]
    known.sort(key=lambda row: -row["value"])
    return section(
        "What can be had",
        table(
            ["Policy", "Exact value"],
            [[row["policy"], f"{row['value']:.3f}"] for row in known],
        ),
        "![Spending](spending.png)",
        "![Bids over what is left](bids.png)",
        "![What critics think that the budget is worth](values.png)",
    )


def draw_spending(rows: Rows) -> Figure:
    rows = [row for row in rows if row["played"] is not None]
    figure, ((axis,),) = subplots(6.6, 3.6)
    colours = (
        "black",
        *(f"tab:{c}" for c in ("blue", "orange", "green", "red", "purple")),
    )
    for colour, name in zip(colours, distinct(rows, "policy"), strict=False):
        played, left, low, high = (
            [row[column] for row in select(rows, policy=name)]
            for column in ("played", "left", "left_low", "left_high")
        )
        axis.fill_between(played, low, high, color=colour, alpha=0.15, linewidth=0)
        axis.plot(played, left, color=colour, label=name)
    axis.set_xlabel("impressions played")
    axis.set_ylabel("budget left, clicks")
    axis.set_ylim(0.0, BudgetedCampaign().budget * 1.02)
    axis.legend(fontsize=8, frameon=False)
    axis.set_title("Spending: mean, and 80 % of campaigns", fontsize=10)
    return figure


def draw_bids(rows: Rows) -> Figure:
    label = f"bid at x = {MIDDLE[0]:g}, c = {MIDDLE[1]:g}"
    return _draw_maps(rows, "bids", label, "viridis", 1.0)


def draw_worth(rows: Rows) -> Figure:
    """What each critic thinks that the budget is worth; colours are the optimum's."""
    label = "worth of the budget left, clicks"
    return _draw_maps(rows, "worth", label, "magma")


def _draw_maps(
    rows: Rows, column: str, label: str, colours: str, highest: float | None = None
) -> Figure:
    rows = [row for row in rows if row[column] is not None]
    maps = {
        name: np.array([row[column].split() for row in found], dtype=np.float64)[::-1]
        for name in distinct(rows, "policy")
        for found in [select(rows, policy=name)]
    }
    if highest is None:
        highest = float(next(iter(maps.values())).max())
    campaign = BudgetedCampaign()
    extent = (0.0, campaign.budget, 0.5, campaign.impressions + 0.5)
    figure, (axes,) = subplots(2.9 * len(maps) + 0.6, 3.0, columns=len(maps), sharey=True)
    for axis, (name, values) in zip(axes, maps.items(), strict=True):
        image = heat(axis, values, extent, 0.0, highest, colours)
        axis.set_title(name, fontsize=9)
        axis.set_xlabel("budget left")
    axes[0].set_ylabel("impressions to come")
    figure.colorbar(image, ax=list(axes), fraction=0.04).set_label(label)
    return figure
