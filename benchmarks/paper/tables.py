"""Tables of the report, once as data, shown as Markdown or HTML."""

from __future__ import annotations

import dataclasses
import html
from collections.abc import Sequence

from ..learners import AUCTION_LEARNERS
from .evidence import Evidence, MissingError
from .figures import TABLE1, TABLE2
from .variants import VARIANTS

__all__ = ["Table", "all_tables", "cost_table", "table1", "table2"]

_SHOWN = (
    *("Ours-paper", "Ours-Monotone", "Ours-Concave", "Ours-KnownCost", "CQL + Concave"),
    *("IQL", "IQL-default", "DiscreteIQL", "CQL", "CQL-default", "DQN"),
    *("BC (greedy)", "BC (sampled)", "ClickModel"),
)


@dataclasses.dataclass(frozen=True)
class Table:
    """A table with a title and a line of explanation."""

    title: str
    note: str
    head: Sequence[str]
    rows: Sequence[Sequence[str]]

    def markdown(self) -> str:
        """As GitHub shows it."""
        lines = [self.head, ["---"] * len(self.head), *self.rows]
        body = "\n".join(
            f"| {' | '.join(cell.replace('|', '/') for cell in line)} |" for line in lines
        )
        return f"### {self.title}\n\n{self.note}\n\n{body}\n"

    def html(self) -> str:
        """In a box that scrolls by itself where the screen is narrow."""

        def line(cells: Sequence[str], tag: str) -> str:
            return "".join(f"<{tag}>{html.escape(cell)}</{tag}>" for cell in cells)

        rows = "".join(f"<tr>{line(row, 'td')}</tr>" for row in self.rows)
        return (
            f"<h3>{html.escape(self.title)}</h3><p>{html.escape(self.note)}</p>"
            f'<div class="wide" tabindex="0"><table><thead><tr>{line(self.head, "th")}'
            f"</tr></thead><tbody>{rows}</tbody></table></div>"
        )


def all_tables(evidence: Evidence) -> list[Table]:
    """Every table for which there are results."""
    tables = [
        *(
            table1(evidence, env, fraction)
            for env in ("BidClick-v0", "BidClickMonotone-v0")
            for fraction in (1.0, 0.25, 0.0625)
        ),
        *(
            table2(evidence, env, fraction)
            for env in ("BidClick-v0", "BidClickMonotone-v0")
            for fraction in (1.0, 0.0625)
        ),
        readings_table(evidence),
        cost_table(evidence),
    ]
    return [table for table in tables if table.rows]


def _mean(evidence: Evidence, values: dict[int, float], digits: int) -> str:
    return evidence.mean(values).format(digits)


def table1(evidence: Evidence, env: str, fraction: float) -> Table:
    """Table I on one auction at one share of the log."""
    columns = (
        *(("return", 4), ("normalized_regret", 4), ("monotonicity_errors", 0)),
        *(("violation_magnitude", 4), ("constraint_errors", 0), ("residual", 4)),
    )
    rows, seeds = [], 0
    for name in _SHOWN:
        try:
            seeds = max(seeds, len(evidence.table1(name, "return", env, fraction)))
        except MissingError:
            continue
        cells = [name]
        for column, digits in columns:
            try:
                values = evidence.table1(name, column, env, fraction)
                cells.append(_mean(evidence, values, digits))
            except MissingError:
                cells.append("")
        cells.append(AUCTION_LEARNERS[name].shape if name in AUCTION_LEARNERS else "")
        rows.append(cells)
    if rows and (env, fraction) == ("BidClick-v0", 1.0):
        rows += [
            [
                f"paper: {row.name}",
                f"{row.mean_return[0]:.3f} ± {row.mean_return[1]:.3f}",
                f"{row.regret[0]:.3f} ± {row.regret[1]:.3f}",
                f"{row.errors[0]:.0f} ± {row.errors[1]:.0f}",
                "",
                "",
                "",
                "",
            ]
            for row in TABLE1
        ]
    head = ["Algorithm", "Return", "Normalized regret", "Monotonicity errors"]
    return Table(
        f"Table I, {env}, {100 * fraction:g} % of the log",
        f"Means over {seeds} seeds (each its own log and training) with 95 % bootstrap "
        "intervals. Errors: of 4,000 pairs of neighbouring bids.",
        [*head, "Mean shortfall", "Own-shape errors", "Residual", "Shape"],
        rows,
    )


def table2(evidence: Evidence, env: str, fraction: float) -> Table:
    """Table II on one auction at one share of the log, beside the paper's figures."""
    rows, seeds = [], 0
    for name, variant in VARIANTS.items():

        def cell(column: str, digits: int, critic: str = "", name: str = name) -> str:
            try:
                values = evidence.table2(name, column, critic, env, fraction)
            except MissingError:
                return ""
            return _mean(evidence, values, digits)

        try:
            found = evidence.table2(name, "return", "", env, fraction)
        except MissingError:
            continue
        seeds = max(seeds, len(found))
        paper = TABLE2[name]
        is_actor = variant.counted == "actor"
        rows.append(
            [
                name + (f" (= {variant.same_as})" if variant.same_as else ""),
                variant.counted,
                f"{paper.mean_return[0]:.3f}",
                cell("return", 4),
                f"{paper.regret[0]:.3f}",
                cell("normalized_regret", 4),
                f"{paper.errors[0]:.0f}",
                cell("monotonicity_errors", 0),
                cell("monotonicity_errors", 0, "raw"),
                ""
                if variant.counted in ("raw", "actor")
                else cell("monotonicity_errors", 0, "exact"),
                cell("violation_magnitude", 4),
                f"{paper.residual:.3f}",
                cell("residual", 4, "raw" if is_actor else ""),
                cell("actor_return", 4),
                cell("lambda", 2),
            ]
        )
    head = ["Variant", "Critic deployed", "Return: paper", "ours"]
    head += ["Normalized regret: paper", "ours", "Errors: paper", "ours, deployed"]
    head += ["ours, raw", "ours, exact", "Mean shortfall", "Residual: paper", "ours"]
    return Table(
        f"Table II, {env}, {100 * fraction:g} % of the log",
        f"Means over {seeds} seeds with 95 % bootstrap intervals. All variants are told "
        "Monotone. Errors are those of the critic that the variant deploys; beside them "
        "those of the raw critic and of its exact projection.",
        [*head, "Return of the actor", "Last lambda"],
        rows,
    )


def readings_table(evidence: Evidence) -> Table:
    """Other readings of the auction and which rows of Table I each could reach."""
    rows = [
        [
            str(row["reading"]),
            *(
                f"{float(row[key]):.4f}"
                for key in ("worst", "best", "logger", "logger_mode", "highest_bid")
            ),
            f"{100 * float(row['monotone_share']):.1f} %",
            str(row["reachable"] or "none"),
        ]
        for row in evidence.results.readings
    ]
    head = ["Reward of an impression", "Worst policy", "Optimum", "Logging policy"]
    head += ["Its likeliest bid", "Always bid 1", "Contexts where it rises"]
    return Table(
        "Other readings of the auction",
        "Exact values, no training. A row of Table I can be reached if its return lies "
        "between the worst and the best policy's. Only where nothing is paid do all "
        "four, "
        "and there a critic that rises in the bid bids 1 and earns .904, not .851.",
        [*head, "Rows of Table I within reach"],
        rows,
    )


def cost_table(evidence: Evidence) -> Table:
    """Milliseconds an update and a ``fit`` step."""
    names = list(dict.fromkeys(str(row["algorithm"]) for row in evidence.results.cost))
    rows = []
    for name in names:
        update, fit = evidence.cost(name), evidence.cost(name, "fit_step_ms")
        rivals = []
        for rival in ("IQL", "CQL"):
            try:
                ratio = evidence.ratio(update, evidence.cost(rival))
                rivals.append(f"{ratio:.2f}")
            except MissingError:
                rivals.append("")
        rows.append([name, _mean(evidence, update, 2), _mean(evidence, fit, 2), *rivals])
    return Table(
        "Cost",
        "Milliseconds, mean over rounds in which everything is timed in turn, one "
        "thread; "
        "ratios of updates are medians over rounds.",
        ["Algorithm", "Update", "fit step", "Update / IQL", "Update / CQL"],
        rows,
    )
