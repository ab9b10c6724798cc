"""The regret benchmark in words: targets by written rules, tables with intervals."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ..engine import Interval, bootstrap_mean, paired_difference
from .regret_rows import ROWS
from .regret_tasks import TASKS

__all__ = ["Comparison", "compare", "regret_report"]

LIMIT = "ClickModel"
HALF, THIRD = 0.5, 1.0 / 3.0
LIMIT_FACTOR = 3.0
SCARCE = 0.0625

Rows = Sequence[dict[str, Any]]


def by_seed(rows: Rows, task: str, name: str, fraction: float) -> dict[int, float]:
    """Regret of every seed of one row."""
    return {
        int(row["seed"]): float(row["regret"])
        for row in rows
        if (row["task"], row["row"], float(row["fraction"])) == (task, name, fraction)
    }


class Comparison:
    """Our best row against the best baseline at one task and share of the log.

    Both are the ones with the smallest mean over the seeds that all of them share.

    Args:
        rows: of the whole benchmark.
        task: a name in ``TASKS``.
        fraction: share of the log.
    """

    def __init__(self, rows: Rows, task: str, fraction: float):
        regret = {name: by_seed(rows, task, name, fraction) for name in ROWS}
        self.regret = {name: seeds for name, seeds in regret.items() if seeds}
        ours = {n: s for n, s in self.regret.items() if ROWS[n].ours}
        rivals = {n: s for n, s in self.regret.items() if not ROWS[n].ours and n != LIMIT}
        self.complete = bool(ours and rivals)
        if not self.complete:
            return
        self.best_ours = min(
            ours, key=lambda n: bootstrap_mean(list(ours[n].values())).mean
        )
        self.best_rival = min(
            rivals, key=lambda n: bootstrap_mean(list(rivals[n].values())).mean
        )
        first, second = ours[self.best_ours], rivals[self.best_rival]
        shared = sorted(first.keys() & second.keys())
        self.seeds = len(shared)
        self.ours = bootstrap_mean([first[s] for s in shared])
        self.rival = bootstrap_mean([second[s] for s in shared])
        self.difference = paired_difference(first, second)
        self.ratio = self.ours.mean / self.rival.mean

    @property
    def halved(self) -> bool:
        """At most half the regret, and surely less: the paired interval is below 0."""
        return self.ratio <= HALF and self.difference.high < 0.0


def compare(rows: Rows, task: str, fraction: float) -> Comparison | None:
    """The comparison, or ``None`` where one side has not run."""
    comparison = Comparison(rows, task, fraction)
    return comparison if comparison.complete else None


def regret_report(rows: Rows, command: str) -> str:
    """The whole report as Markdown."""
    fractions = sorted({float(row["fraction"]) for row in rows}, reverse=True)
    steps = sorted({int(row["steps"]) for row in rows})
    parts = [
        "# How much regret each prior saves",
        f"`{command}`",
        _introduction(steps),
        "![Regret by prior and share of the log](regret.png)",
        "## Verdict",
        "\n".join(_verdicts(rows, fractions)),
    ]
    for task in TASKS:
        if any(row["task"] == task for row in rows):
            parts += [f"## {task.capitalize()}", _table(rows, task, fractions)]
    parts += ["## How to read it", _NOTES]
    return "\n\n".join(parts) + "\n"


def _introduction(steps: list[int]) -> str:
    counts = " and ".join(f"{count:,}" for count in steps)
    return (
        "`BidClick-v0`, whole log of 100,000 impressions and shares of it; every seed "
        f"draws its own log, share and training of {counts} steps, with the network, "
        "optimizer, schedule and batch that all rows share. Regret is exact; means with "
        "95 % bootstrap percentile intervals over seeds, as many as each cell says."
    )


def _verdicts(rows: Rows, fractions: Sequence[float]) -> list[str]:
    lines = []
    for fraction in fractions:
        comparison = compare(rows, "5 bids", fraction)
        if comparison is None:
            continue
        word = "**holds**" if comparison.halved else "**does not hold**"
        third = "reached" if comparison.ratio <= THIRD else "missed"
        lines.append(
            f"- {100 * fraction:.4g} % of the log: at most half the regret of the best "
            f"oracle-tuned baseline {word}: *{comparison.best_ours}* "
            f"{comparison.ours.mean:.5f}, *{comparison.best_rival}* "
            f"{comparison.rival.mean:.5f}, {comparison.ratio:.2f} times; paired "
            f"difference {comparison.difference.format(5)} over {comparison.seeds} "
            f"seeds. One third, the aim: {third}."
        )
    limit = by_seed(rows, "5 bids", LIMIT, SCARCE)
    comparison = compare(rows, "5 bids", SCARCE)
    if limit and comparison is not None:
        known = bootstrap_mean(list(limit.values()))
        factor = comparison.ours.mean / known.mean
        word = "**holds**" if factor <= LIMIT_FACTOR else "**does not hold**"
        lines.append(
            f"- At {100 * SCARCE:.4g} % of the log, at most {LIMIT_FACTOR:g} times the "
            f"limit of maximum likelihood in the true parametric family {word}: "
            f"{factor:.1f} times ({known.format(5)})."
        )
    return lines


def _table(rows: Rows, task: str, fractions: Sequence[float]) -> str:
    head = ["Row", *(f"{100 * fraction:.4g} % of the log" for fraction in fractions)]
    lines = [f"| {' | '.join(head)} |", "| --- " * len(head) + "|"]
    for name, row in ROWS.items():
        cells = [by_seed(rows, task, name, fraction) for fraction in fractions]
        if not any(cells):
            continue
        label = f"ours: {name}" if row.ours else name
        shown = [_cell(bootstrap_mean(list(c.values()))) if c else "" for c in cells]
        lines.append(f"| {' | '.join([label, *shown])} |")
    return "\n".join(lines)


def _cell(interval: Interval) -> str:
    return f"{interval.format(5)} ({interval.seeds})"


_NOTES = """\
- *ClickModel* is maximum likelihood in the auction's true family, with the cost known: a
  limit, not a rival.
- IQL (d3rlpy's own, continuous, snapped to the nearest bid where bids are a list) and CQL
  are tuned by the oracle's regret at each share on other seeds
  (`benchmarks/results/regret_tuning.csv`); the values found on five bids serve the other
  tasks. *DQN with bid input* is d3rlpy's DQN whose critic sees the bid as a number.
- Rows marked "ours" are `ConstraintAwareQ` with its defaults but for the shape; "..."
  adds to *clicks rise concavely, cost known*. The best of several rows is picked by the
  same seeds that it is shown on, ours and the baselines' alike.
- *Any bid*: bids are real numbers in the log and in the policy; regret is to the best
  real bid, `V* = .63453`."""
