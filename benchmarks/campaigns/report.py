"""Campaigns under a budget in words: verdicts by written rules, tables with intervals."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from bidclick_gym.campaigns import BudgetedCampaign, shape_report, shape_table, solve

from ..auction.report import versions
from ..auction.verdicts import MIN_SEEDS
from ..engine import Interval, bootstrap_mean, paired_difference
from ..learners.campaigns import CAMPAIGN_LEARNERS, GAMMA, RELABELLED, other_budgets
from .cells import SHAPES, STATES
from .references import Reference
from .tuning import best_settings

__all__ = ["budget_report", "verdicts"]

Rows = Sequence[dict[str, Any]]
_COLUMNS = (
    ("return", "Return", 3),
    ("regret", "Regret", 3),
    ("gap_closed", "Gap closed", 2),
    *((f"{shape}_errors", shape.replace("_", " "), 0) for shape in SHAPES),
    ("own_errors", "Own shapes", 0),
    ("value_drift", "Drift", 3),
)


def budget_report(
    rows: Rows,
    references: Sequence[Reference],
    command: str,
    steps: int,
    sections: Sequence[str] = (),
) -> str:
    """The whole report.

    Args:
        rows: of every learner, log, share and seed.
        references: policies whose exact values are shown beside them.
        command: as typed.
        steps: gradient steps of each training.
        sections: of the other parts.
    """
    campaign = BudgetedCampaign()
    parts = [_learned(rows, references, steps)] if rows else []
    body = "\n".join([*parts, *sections])
    return f"""# Campaigns under a budget

`{command}`

{campaign.impressions} impressions share a budget of {campaign.budget:g}. A seed draws the
log *and* the training; figures are means over seeds with 95 % bootstrap percentile
intervals, and each table says how many seeds it has. Raw rows are in the CSV files
beside this report.

{body}
## What is true of the optimum

{shape_table(shape_report(solve(campaign)))}

## Versions

{versions()}
"""


def _learned(rows: Rows, references: Sequence[Reference], steps: int) -> str:
    said = "\n".join(f"- {line}" for line in verdicts(rows))
    picker = other_budgets()
    return f"""## Verdict

{said}

![Regret of every learner](regret.png)

## What can be had

{_reference_table(references)}

![Spending](spending.png)

![Bids over what is left](bids.png)

![What critics think that the budget is worth](values.png)

## Learners

{_tables(rows)}

Returns are exact, by backward induction. "Gap closed" is the share of the way from the
logger's value to the optimum; below 0 is worse than the logger. Shape columns count
violated inequalities on {STATES} fixed states, where the bid is paid at both ends; "own
shapes" is the largest count over ten looks during training for what the learner was told.
"Drift" is how far the mean value moved over the second half of the training, in clicks.

All learners: {steps:,} gradient steps, network, optimizer, schedule, batches and reward
scaling as in Table I, discount {GAMMA:g}. In the log a refused bid is a bid of 0, for all
learners, and every learner chooses among the bids that the rest of the budget can pay.
The lag of the targets, the alpha of CQL, the expectile and the temperature of
DiscreteIQL were chosen by the *oracle's* regret, on three other seeds of each log at a
quarter of its campaigns, our learners by the same search as the baselines:
`benchmarks/results/tuning_budget.csv`. Chosen: {_tuning(rows)}.

Rows that end in "{RELABELLED.strip()}" are told that a budget only pays:
{_percent(picker.share)} of their transitions are under other budgets than their own,
{_percent(picker.ends)} of those with nothing left, as many with as much left as can be
spent.
"""


def _percent(share: float) -> str:
    return f"{100.0 * share:g} %"


def _tuning(rows: Rows) -> str:
    found = []
    for (name, log), settings in best_settings().items():
        if any((row["learner"], row["log"]) == (name, log) for row in rows):
            pairs = ", ".join(f"{key} {value:g}" for key, value in settings)
            found.append(f"{name} on the {log} log {pairs}")
    return "; ".join(found) or "nothing"


def verdicts(rows: Rows) -> list[str]:
    """Sentences, each decided by the figures it quotes."""
    lines = [_exactness(rows)]
    for log, fraction in _settings(rows):
        lines += _comparisons(rows, log, fraction)
    return [line for line in lines if line]


def _settings(rows: Rows) -> list[tuple[str, float]]:
    found = {(str(row["log"]), float(row["fraction"])) for row in rows}
    return sorted(found, key=lambda key: (key[0], -key[1]))


def _exactness(rows: Rows) -> str:
    worst = [row["own_errors"] for row in rows if row["own_errors"] is not None]
    if not worst:
        return ""
    count, most = len(worst), max(float(value) for value in worst)
    if most == 0.0:
        return f"Shapes hold: 0 violations in {count} trainings, ten looks at each."
    return f"Shapes **do not hold**: up to {most:.0f} violations in {count} trainings."


def _of(
    rows: Rows, name: str, log: str, fraction: float, column: str
) -> dict[int, float]:
    return {
        int(row["seed"]): float(row[column])
        for row in rows
        if (row["learner"], row["log"], float(row["fraction"])) == (name, log, fraction)
        and row[column] is not None
    }


def _comparisons(rows: Rows, log: str, fraction: float) -> list[str]:
    """Our best against the best baseline, and against itself without what it is told."""
    regret = {n: _of(rows, n, log, fraction, "regret") for n in CAMPAIGN_LEARNERS}
    regret = {name: seeds for name, seeds in regret.items() if seeds}
    ours = [name for name in regret if CAMPAIGN_LEARNERS[name].kind == "ours"]
    baselines = [name for name in regret if CAMPAIGN_LEARNERS[name].kind == "baseline"]
    if not ours:
        return []

    def mean(name: str) -> float:
        return sum(regret[name].values()) / len(regret[name])

    best = min(ours, key=mean)
    bare = [
        name
        for name in regret
        if CAMPAIGN_LEARNERS[name].kind == "bare"
        and CAMPAIGN_LEARNERS[name].relabelled == CAMPAIGN_LEARNERS[best].relabelled
    ]
    logged = [n for n in regret if f"{n}{RELABELLED}" == best]
    closed = bootstrap_mean(list(_of(rows, best, log, fraction, "gap_closed").values()))
    lines = []
    for rivals, what in (
        (baselines, "the best baseline"),
        (bare, "the same critic told no shape"),
        (logged, "the same learner with budgets as logged"),
    ):
        if not rivals:
            continue
        rival = min(rivals, key=mean)
        gap = paired_difference(regret[best], regret[rival])
        lines.append(
            f"{log} log, {100.0 * fraction:g} %: {_said(gap)} *{best}* minus *{rival}*, "
            f"{what}: {gap.format(3)} ({gap.seeds} seeds)."
        )
    if lines:
        lines[0] += f" It closes {closed.format(2)} of the gap from logger to optimum."
    return lines


def _said(gap: Interval) -> str:
    if gap.seeds < MIN_SEEDS:
        return "too few seeds to tell."
    if gap.high < 0.0:
        return "regret is lower."
    if gap.low > 0.0:
        return "regret is **higher**."
    return "**no difference can be told**."


def _reference_table(references: Sequence[Reference]) -> str:
    lines = ["| Policy | Exact value |", "|---|---|"]
    lines += [f"| {r.name} | {r.value:.3f} |" for r in references]
    return "\n".join(lines)


def _tables(rows: Rows) -> str:
    parts = []
    for log, fraction in _settings(rows):
        names = [n for n in CAMPAIGN_LEARNERS if _of(rows, n, log, fraction, "regret")]
        seeds = {len(_of(rows, n, log, fraction, "regret")) for n in names}
        count = " to ".join(str(n) for n in sorted({min(seeds), max(seeds)}))
        head = ["Learner", *(title for _, title, _ in _COLUMNS)]
        lines = [
            f"### {log.capitalize()} log, {100.0 * fraction:g} % of its campaigns, "
            f"{count} seeds",
            "",
            _line(head),
            _line(["---"] * len(head)),
        ]
        for name in names:
            cells = [name]
            for column, _, digits in _COLUMNS:
                values = list(_of(rows, name, log, fraction, column).values())
                cells.append(bootstrap_mean(values).format(digits) if values else "")
            lines.append(_line(cells))
        parts.append("\n".join(lines))
    return "\n\n".join(parts)


def _line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"
