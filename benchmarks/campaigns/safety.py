"""Caps on spending kept by learned bidders, and what that costs.

A mask keeps a cap with certainty; a multiplier learned from the log keeps one in
expectation, as far as its estimate can be trusted.  Prices are against the solver's
constrained optimum.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from bidclick_gym.campaigns import (
    BudgetedCampaign,
    CostPerClickCap,
    SafePolicy,
    SpendCap,
    simulate_capped,
    solve,
    solve_cost_per_click,
    solve_spend_cap,
)
from bidclick_gym.logs import to_replay_buffer
from icac_algo import Concave, MonotoneConcave, fit_lagrangian
from icac_algo.decisions import MaskedGreedy

from ..engine import Cell, Part, Settings
from ..engine.intervals import bootstrap_mean
from ..engine.markdown import bullets, interval, section, table
from ..engine.pictures import Line, dots, subplots
from ..engine.rows import Rows, by_seed, distinct, select
from ..engine.tuning import best_settings
from ..learners.campaigns import COST, X, afterstates, ours
from .training import GRID, LOGGERS, TUNED, learner_config, log_of, train_learner

LEARNER = "Ours shaped afterstates"
CAPS: dict[str, SpendCap | CostPerClickCap] = {
    "spend 0.6 per 10": SpendCap(10, 0.6),
    "spend 0.8 per 10": SpendCap(10, 0.8),
    "0.08 per click": CostPerClickCap(0.08),
    "0.10 per click": CostPerClickCap(0.10),
}
#: In the order of tables, with their colours.
BIDDERS = {"free": "0.55", "masked": "tab:blue", "multiplier": "tab:orange"}
EPISODES = 10_000
#: Of the search for a multiplier.
ROUNDS = 5
STEP_SIZE = 0.3


def _cells(settings: Settings) -> Iterable[Cell]:
    """A critic under every cap, with and without a mask; a multiplier for one cap."""
    for seed in range(settings["extra_seeds"]):
        for log in LOGGERS:
            where = {
                "log": log,
                "fraction": 1.0,
                "steps": settings.steps,
                "tuned": best_settings(TUNED, log=log).get(LEARNER, ()),
            }
            yield Cell.of("safety", LEARNER, seed, **where)
            for name, cap in CAPS.items():
                if isinstance(cap, CostPerClickCap):
                    yield Cell.of("safety", "multiplier", seed, cap=name, **where)


def _config(cell: Cell) -> Any:
    if cell.learner == LEARNER:
        return learner_config(cell)
    # The multiplier adds to the payment and to the worth of a click, so that what is
    # earned now is concave and no more, and depends on the price too.
    critic = dataclasses.replace(afterstates(MonotoneConcave()), context=[X, COST])
    return ours(constraint=Concave(), critic=critic)(cell["steps"], **cell.tuned)


def _depends(cell: Cell) -> Any:
    search = [ROUNDS, STEP_SIZE] if cell.learner == "multiplier" else []
    return [_config(cell), {name: str(cap) for name, cap in CAPS.items()}, search]


def _measure(cell: Cell) -> Rows:
    if cell.learner == "multiplier":
        return [_multiplier(cell, CAPS[cell["cap"]])]
    algo, _ = train_learner(cell)
    return [
        {"bidder": bidder, "cap": name, **_played(algo, cap, caps, cell.seed)}
        for name, cap in CAPS.items()
        for bidder, caps in (("free", []), ("masked", [cap]))
    ]


def _multiplier(cell: Cell, cap: Any) -> dict[str, Any]:
    """A multiplier for one cap on cost per click, learned from the log alone."""
    log = log_of(cell["log"], cell.seed)
    payments = log.clicks - log.rewards
    fit = fit_lagrangian(
        lambda: _config(cell).create(device="cpu:0"),
        to_replay_buffer(log),
        (payments - cap.cap * log.clicks).ravel(),
        n_steps=cell["steps"],
        gamma=1.0,
        rounds=ROUNDS,
        step_size=STEP_SIZE,
        estimate_steps=cell["steps"],
        seed=cell.seed,
        show_progress=False,
    )
    played = _played(fit.algo, cap, [], cell.seed)
    return {**played, "estimate": float(fit.costs[fit.round])}


def _played(algo: Any, cap: Any, masked: list[Any], seed: int) -> dict[str, Any]:
    # Only its values are asked, for which no mask matters.
    values = MaskedGreedy(algo, lambda observations: np.ones((0, 0), np.bool_)).values
    policy = SafePolicy(values, masked)
    played = simulate_capped(policy.decide, [cap], episodes=EPISODES, seed=1000 + seed)
    beyond = None
    if isinstance(cap, CostPerClickCap):
        # What is paid beyond it, in expectation.
        beyond = float((played["spend"] - cap.cap * played["clicks"]).mean())
    return {
        "profit": float(played["profit"].mean()),
        "cost": beyond,
        "violating": float((played["violations"][:, 0] > 0).mean()),
        "optimum": optimum(cap),
    }


def optimum(cap: SpendCap | CostPerClickCap) -> float:
    """The most that can be earned under a cap: by windows, or in expectation."""
    if isinstance(cap, SpendCap):
        return float(solve_spend_cap(cap).optimal_value)
    return float(solve_cost_per_click(cap, BudgetedCampaign(), **GRID).optimal_value)


SAFETY = Part(
    "safety",
    (
        *("bidder", "log", "cap", "seed"),
        *("profit", "cost", "violating", "estimate", "optimum"),
    ),
    _cells,
    _measure,
    _depends,
    learner="bidder",
)


# -- report ------------------------------------------------------------------


def _settings(rows: Rows) -> Iterable[tuple[dict[str, str], Rows]]:
    """Coordinates of a line of the table, and its rows."""
    for log in LOGGERS:
        for cap in CAPS:
            for bidder in BIDDERS:
                where = {"log": log, "cap": cap, "bidder": bidder}
                if found := select(rows, **where):
                    yield where, found


def _column(rows: Rows, column: str) -> list[float]:
    return list(by_seed(rows, column).values())


def safety_section(rows: Rows) -> str:
    lines = []
    for where, found in _settings(rows):
        price = [row["optimum"] - row["profit"] for row in found]
        broken = [100.0 * row["violating"] for row in found]
        lines.append(
            [
                *where.values(),
                interval(_column(found, "profit"), 2),
                interval(price, 2),
                f"{interval(broken, 1)} %",
                interval(_column(found, "cost"), 2),
                interval(_column(found, "estimate"), 2),
            ]
        )
    free = solve(BudgetedCampaign(), **GRID).optimal_value
    head = ["Log", "Cap", "Bidder", "Profit", "Price", "Campaigns that break it"]
    return section(
        "Safety",
        bullets(verdicts(rows)),
        "![Profit under caps against the constrained optimum](safety.png)",
        table([*head, "Beyond the cap, expected", "Estimated"], lines),
        f"""\
*{LEARNER}* on the whole log: *free* knows of no cap, *masked* is the same critic under a
mask that allows only what keeps the cap for certain, *multiplier* is trained by
`fit_lagrangian` ({ROUNDS} rounds), which can bound only an expectation. *Price*: the
constrained optimum minus the profit; that optimum keeps the cap in every campaign where
the cap is on windows, and in expectation where it is on cost per click. Without a cap the
optimum earns {free:.3f}. {EPISODES:,} simulated campaigns for each
seed. *Beyond the cap*: expected payments minus the cap times expected clicks, at most 0
where the bound holds; *estimated*: what `fit_lagrangian` believed it to be.""",
    )


def verdicts(rows: Rows) -> Iterable[str]:
    masked = [100.0 * row["violating"] for row in select(rows, bidder="masked")]
    if masked:
        holds = "Masks hold" if max(masked) == 0.0 else "Masks **do not hold**"
        yield (
            f"{holds}: at most {max(masked):g} % of campaigns break the cap in "
            f"{len(masked)} bidders of {EPISODES:,} campaigns each."
        )
    for where, found in _settings(select(rows, bidder="multiplier")):
        true, guess = _column(found, "cost"), _column(found, "estimate")
        beyond = bootstrap_mean(true)
        off = max(abs(g - t) for g, t in zip(guess, true, strict=True))
        word = "may or may not be kept"
        if beyond.low > 0.0:
            word = "**is broken**"
        elif beyond.high <= 0.0:
            word = "is kept"
        yield (
            f"Multiplier, {where['log']} log, {where['cap']}: in expectation the cap "
            f"{word} ({beyond.format(2)} beyond it; kept by "
            f"{sum(c <= 0.0 for c in true)} of {beyond.seeds}); the estimate is "
            f"off by up to {off:.2f}."
        )


def draw(rows: Rows) -> Figure:
    """Profits under every cap; black lines are constrained optima."""
    logs = [log for log in LOGGERS if log in distinct(rows, "log")]
    figure, (axes,) = subplots(4.2 * len(logs), 3.2, columns=len(logs), sharey=True)
    for axis, log in zip(axes, logs, strict=True):
        lines = [
            Line(cap, _column(found, "profit"), colour, bidder)
            for cap in CAPS
            for bidder, colour in BIDDERS.items()
            for found in [select(rows, log=log, cap=cap, bidder=bidder)]
        ]
        places = dots(axis, lines)
        for cap, y in places.items():
            for best in distinct(select(rows, log=log, cap=cap), "optimum")[:1]:
                axis.plot([best] * 2, [y - 0.4, y + 0.4], color="black")
        axis.set_title(f"{log} log; black: constrained optimum", fontsize=9)
        axis.set_xlabel("profit, clicks a campaign")
    for axis in axes[1:]:
        axis.get_legend().remove()
    return figure
