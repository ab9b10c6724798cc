"""Caps on spending kept by learned bidders, and what that costs.

A mask keeps a cap with certainty; a multiplier learned from the log keeps one in
expectation, as far as its estimate can be trusted.  Prices are against the solver's
constrained optimum.
"""

from __future__ import annotations

import dataclasses
import pathlib
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
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
from icac_algo import Concave, MonotoneConcave, fit_lagrangian
from icac_algo.decisions import MaskedGreedy

from ..auction.cells import digest_of
from ..engine import bootstrap_mean, run_cells, write_png, write_rows
from ..learners.campaigns import COST, X, afterstates, ours
from .cells import BUDGET_POINTS, NODES, BudgetCell, log_of, train_on_log
from .tuning import best_settings

__all__ = ["CAPS", "COLUMNS", "SafetyCell", "measure", "planned", "run", "section"]

COLUMNS = (
    "bidder",
    "log",
    "cap",
    "seed",
    "profit",
    "cost",
    "violating",
    "estimate",
    "optimum",
)
LEARNER = "Ours shaped afterstates"
CAPS: dict[str, SpendCap | CostPerClickCap] = {
    "spend .6 per 10": SpendCap(10, 0.6),
    "spend .8 per 10": SpendCap(10, 0.8),
    ".08 per click": CostPerClickCap(0.08),
    ".10 per click": CostPerClickCap(0.10),
}
EPISODES = 10_000
#: Of the search for a multiplier.
ROUNDS = 5
STEP_SIZE = 0.3


@dataclasses.dataclass(frozen=True)
class SafetyCell:
    """What is played under one or all caps.

    Args:
        kind: ``"masked"`` for a learned critic under every cap, with and without its
            mask, or ``"lagrangian"`` for a multiplier that is learned for one cap.
        log: a name in ``LOGGERS``.
        cap: a name in ``CAPS``; empty for all of them.
        seed: draws the log and the training.
        steps: gradient steps.
    """

    kind: str
    log: str
    cap: str = ""
    seed: int = 0
    steps: int = 2000

    @property
    def algorithm(self) -> str:
        """What a progress bar shows."""
        return f"{self.kind} {self.cap}".strip()

    @property
    def digest(self) -> str:
        """Name of the cell's file."""
        return digest_of({"safety": 1, **dataclasses.asdict(self)})


def planned(seeds: int, steps: int) -> list[SafetyCell]:
    """All cells, seed by seed."""
    clicks = [name for name, cap in CAPS.items() if isinstance(cap, CostPerClickCap)]
    return [
        cell
        for seed in range(seeds)
        for log in ("unpaced", "paced")
        for cell in (
            SafetyCell("masked", log, seed=seed, steps=steps),
            *(SafetyCell("lagrangian", log, cap, seed, steps) for cap in clicks),
        )
    ]


def measure(cell: SafetyCell) -> list[dict[str, Any]]:
    """One row for every bidder and cap."""
    if cell.kind == "lagrangian":
        return [_lagrangian(cell)]
    tuned = best_settings().get((LEARNER, cell.log), ())
    budget_cell = BudgetCell(LEARNER, cell.log, 1.0, cell.seed, cell.steps, tuned)
    algo, _ = train_on_log(budget_cell)
    rows = []
    for name, cap in CAPS.items():
        free = SafePolicy(_values(algo), [])
        masked = SafePolicy(_values(algo), [cap])
        for bidder, policy in (("free", free), ("masked", masked)):
            played = _played(policy, cap, cell.seed)
            rows.append({"bidder": bidder, "cap": name, **played})
    return [{**row, "log": cell.log, "seed": cell.seed} for row in rows]


def _lagrangian(cell: SafetyCell) -> dict[str, Any]:
    """A multiplier for one cap on cost per click, learned from the log alone."""
    from bidclick_gym.logs.datasets import to_replay_buffer

    cap = CAPS[cell.cap]
    assert isinstance(cap, CostPerClickCap)
    log = log_of(cell.log, cell.seed)
    payments = log.clicks - log.rewards
    cost = (payments - cap.cap * log.clicks).ravel()
    # The multiplier adds to the payment and to the worth of a click, so that what is
    # earned now is concave and no more, and depends on the price too.
    critic = dataclasses.replace(afterstates(MonotoneConcave()), context=[X, COST])
    make = ours(constraint=Concave(), critic=critic)
    tuned = dict(best_settings().get((LEARNER, cell.log), ()))
    fit = fit_lagrangian(
        lambda: make(cell.steps, **tuned).create(device="cpu:0"),
        to_replay_buffer(log),
        cost,
        n_steps=cell.steps,
        gamma=1.0,
        rounds=ROUNDS,
        step_size=STEP_SIZE,
        estimate_steps=cell.steps,
        seed=cell.seed,
        show_progress=False,
    )
    played = _played(SafePolicy(_values(fit.algo), []), cap, cell.seed)
    return {
        "bidder": "multiplier",
        "log": cell.log,
        "cap": cell.cap,
        "seed": cell.seed,
        **played,
        "estimate": float(fit.costs[fit.round]),
    }


def _values(algo: Any) -> Any:
    def anything(observations: npt.NDArray[Any]) -> npt.NDArray[np.bool_]:
        return np.ones((len(observations), algo.impl.action_size), dtype=np.bool_)

    return MaskedGreedy(algo, anything).values


def _played(policy: SafePolicy, cap: Any, seed: int) -> dict[str, Any]:
    played = simulate_capped(policy.decide, [cap], episodes=EPISODES, seed=1000 + seed)
    spend, clicks = played["spend"], played["clicks"]
    per_click = isinstance(cap, CostPerClickCap)
    return {
        "profit": float(played["profit"].mean()),
        # Of a cap on cost per click: what is paid beyond it, in expectation.
        "cost": float((spend - cap.cap * clicks).mean()) if per_click else None,
        "violating": float((played["violations"][:, 0] > 0).mean()),
        "estimate": None,
        "optimum": optimum(cap),
    }


def optimum(cap: SpendCap | CostPerClickCap) -> float:
    """The most that can be earned under a cap: by windows, or in expectation."""
    if isinstance(cap, SpendCap):
        return float(solve_spend_cap(cap).optimal_value)
    solution = solve_cost_per_click(cap, nodes=NODES, budget_points=BUDGET_POINTS)
    return float(solution.optimal_value)


def run(seeds: int, steps: int, workers: int, out: pathlib.Path) -> None:
    """Runs what is missing; writes ``safety.csv`` and ``safety.png``."""
    rows = run_cells(planned(seeds, steps), out / "cells", workers, measure)
    write_rows(out / "safety.csv", COLUMNS, rows)
    _draw(rows, out / "safety.png")


Rows = Sequence[dict[str, Any]]


def _column(rows: Rows, bidder: str, log: str, cap: str, name: str) -> list[float]:
    return [
        float(row[name])
        for row in rows
        if (row["bidder"], row["log"], row["cap"]) == (bidder, log, cap)
        and row[name] is not None
    ]


def _settings(rows: Rows) -> list[tuple[str, str, str]]:
    found = {(str(r["log"]), str(r["cap"]), str(r["bidder"])) for r in rows}
    bidders = ("free", "masked", "multiplier")
    caps = list(CAPS)
    return sorted(
        found, key=lambda f: (f[0] != "unpaced", caps.index(f[1]), bidders.index(f[2]))
    )


def section(rows: Rows) -> str:
    """The part of the report, from the rows alone."""
    head = (
        "| Log | Cap | Bidder | Profit | Price | Campaigns that break it | "
        "Beyond the cap, expected | Estimated |"
    )
    lines = [head, "|---" * 8 + "|"]
    for log, cap, bidder in _settings(rows):
        profit = _column(rows, bidder, log, cap, "profit")
        best = _column(rows, bidder, log, cap, "optimum")
        broken = _column(rows, bidder, log, cap, "violating")
        beyond = _column(rows, bidder, log, cap, "cost")
        guess = _column(rows, bidder, log, cap, "estimate")
        price = [b - p for b, p in zip(best, profit, strict=True)]
        share = bootstrap_mean([100.0 * b for b in broken])
        cells = [
            log,
            cap,
            bidder,
            bootstrap_mean(profit).format(2),
            bootstrap_mean(price).format(2),
            f"{share.format(1)} %",
            bootstrap_mean(beyond).format(2) if beyond else "",
            bootstrap_mean(guess).format(2) if guess else "",
        ]
        lines.append(f"| {' | '.join(cells)} |")
    said = "\n".join(f"- {line}" for line in verdicts(rows))
    free = solve(BudgetedCampaign(), nodes=NODES, budget_points=BUDGET_POINTS)
    table = "\n".join(lines)
    return f"""## Safety

{said}

![Profit under caps against the constrained optimum](safety.png)

{table}

*{LEARNER}* on the whole log: *free* knows of no cap, *masked* is the same critic under a
mask that allows only what keeps the cap for certain, *multiplier* is trained by
`fit_lagrangian` ({ROUNDS} rounds), which can bound only an expectation. *Price*: the
constrained optimum minus the profit; that optimum keeps the cap in every campaign where
the cap is on windows, and in expectation where it is on cost per click. Without a cap the
optimum earns {free.optimal_value:.3f}. {EPISODES:,} simulated campaigns for each seed.
*Beyond the cap*: expected payments minus the cap times expected clicks, at most 0 where
the bound holds; *estimated*: what `fit_lagrangian` believed it to be.
"""


def verdicts(rows: Rows) -> list[str]:
    """Sentences, each decided by the figures it quotes."""
    lines = []
    masked = [float(r["violating"]) for r in rows if r["bidder"] == "masked"]
    if masked:
        worst = 100.0 * max(masked)
        holds = "Masks hold" if worst == 0.0 else "Masks **do not hold**"
        lines.append(
            f"{holds}: at most {worst:g} % of campaigns break the cap in {len(masked)} "
            f"bidders of {EPISODES:,} campaigns each."
        )
    for log, cap, bidder in _settings(rows):
        if bidder != "multiplier":
            continue
        beyond = bootstrap_mean(_column(rows, bidder, log, cap, "cost"))
        kept = sum(c <= 0.0 for c in _column(rows, bidder, log, cap, "cost"))
        guess = _column(rows, bidder, log, cap, "estimate")
        true = _column(rows, bidder, log, cap, "cost")
        off = max(abs(g - t) for g, t in zip(guess, true, strict=True))
        word = (
            "**is broken**"
            if beyond.low > 0.0
            else ("is kept" if beyond.high <= 0.0 else "may or may not be kept")
        )
        lines.append(
            f"Multiplier, {log} log, {cap}: in expectation the cap {word} "
            f"({beyond.format(2)} beyond it; kept by {kept} of {beyond.seeds}); the "
            f"estimate is off by up to {off:.2f}."
        )
    return lines


def _draw(rows: Rows, path: pathlib.Path) -> None:
    logs = list(dict.fromkeys(log for log, _, _ in _settings(rows)))
    figure = Figure(figsize=(4.2 * len(logs), 3.2), layout="constrained")
    axes = figure.subplots(1, len(logs), sharey=True, squeeze=False)[0]
    colors = {"free": "0.55", "masked": "tab:blue", "multiplier": "tab:orange"}
    shifts = {"free": 0.22, "masked": 0.0, "multiplier": -0.22}
    for axis, log in zip(axes, logs, strict=True):
        for bidder, color in colors.items():
            label: str | None = bidder
            for i, cap in enumerate(CAPS):
                found = _column(rows, bidder, log, cap, "profit")
                if not found:
                    continue
                y, mean = shifts[bidder] - i, bootstrap_mean(found)
                axis.plot([mean.low, mean.high], [y, y], color=color, linewidth=2)
                axis.plot(mean.mean, y, "o", color=color, label=label)
                label = None
        for i, cap in enumerate(CAPS):
            for best in _column(rows, "free", log, cap, "optimum")[:1]:
                axis.plot([best] * 2, [-i - 0.4, -i + 0.4], color="black")
        axis.set_yticks([-i for i in range(len(CAPS))], list(CAPS))
        axis.set_title(f"{log} log; black: constrained optimum", fontsize=9)
        axis.set_xlabel("profit, clicks a campaign")
        axis.grid(axis="x", color="0.92")
    axes[0].legend(fontsize=8, frameon=False)
    write_png(path, figure)
