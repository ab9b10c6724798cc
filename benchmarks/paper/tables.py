"""Tables of the report, from the rows alone."""

from __future__ import annotations

from collections.abc import Iterator

from ..auction.paper_figures import TABLE1, TABLE2
from ..engine import Results
from ..engine.markdown import figures, interval, section, table
from ..engine.rows import by_seed, distinct, select
from ..engine.timing import ratio
from ..learners import AUCTION_LEARNERS
from . import table1, table2
from .variants import VARIANTS

_TABLE1 = (
    ("return", "Return", 4),
    ("normalized_regret", "Normalized regret", 4),
    ("monotonicity_errors", "Monotonicity errors", 0),
    ("violation_magnitude", "Mean shortfall", 4),
    ("constraint_errors", "Own-shape errors", 0),
    ("residual", "Residual", 4),
)
_SHOWN = (
    *("Ours-paper", "Ours-Monotone", "Ours-Concave", "Ours-KnownCost", "CQL + Concave"),
    *("IQL", "IQL-default", "DiscreteIQL", "CQL", "CQL-default", "DQN"),
    *("BC (greedy)", "BC (sampled)", "ClickModel"),
)


def all_tables(results: Results) -> Iterator[str]:
    """Every table; empty where there are no results."""
    for env in table1.ENVS:
        for fraction in table1.FRACTIONS:
            yield _table1(results, env, fraction)
    for env in table1.ENVS:
        for fraction in table2.FRACTIONS:
            yield _table2(results, env, fraction)
    yield _interpretations(results)
    yield _cost(results)


def _seeds(rows: list[dict[str, object]]) -> str:
    return f"Means over {len(distinct(rows, 'seed'))} seeds"


def _table1(results: Results, env: str, fraction: float) -> str:
    rows = select(results["table1"], env=env, fraction=fraction)
    lines = []
    for name in _SHOWN:
        found = select(rows, algorithm=name)
        if found:
            shape = AUCTION_LEARNERS[name].shape if name in AUCTION_LEARNERS else ""
            lines.append([name, *figures(found, _TABLE1), shape])
    if not lines:
        return ""
    if (env, fraction) == ("BidClick-v0", 1.0):
        lines += [[f"paper: {row.name}", *row.cells, *("", "", "", "")] for row in TABLE1]
    return section(
        f"Table I, {env}, {100 * fraction:g} % of the log",
        f"{_seeds(rows)} (each its own log and training) with 95 % bootstrap intervals. "
        "Errors: of 4,000 pairs of neighbouring bids.",
        table(["Algorithm", *(title for _, title, _ in _TABLE1), "Shape"], lines),
        level=3,
    )


def _table2(results: Results, env: str, fraction: float) -> str:
    rows = select(results["table2"], env=env, fraction=fraction)
    lines = []
    for name, variant in VARIANTS.items():
        found = select(rows, variant=variant.same_as or name)
        if not found:
            continue

        def cell(column: str, digits: int, critic: str) -> str:
            return interval(by_seed(found, column, critic=critic), digits)  # noqa: B023

        paper, counted = TABLE2[name], variant.counted
        # Scores of an actor have no residual: that of its critic.
        valued = "raw" if counted == "actor" else counted
        lines.append(
            [
                name + (f" (= {variant.same_as})" if variant.same_as else ""),
                counted,
                f"{paper.mean_return[0]:.3f}",
                cell("return", 4, counted),
                f"{paper.regret[0]:.3f}",
                cell("normalized_regret", 4, counted),
                f"{paper.errors[0]:.0f}",
                cell("monotonicity_errors", 0, counted),
                cell("monotonicity_errors", 0, "raw"),
                cell("monotonicity_errors", 0, "exact"),
                cell("violation_magnitude", 4, counted),
                f"{paper.residual:.3f}",
                cell("residual", 4, valued),
                cell("actor_return", 4, counted),
                cell("lambda", 2, counted),
            ]
        )
    if not lines:
        return ""
    head = ["Variant", "Critic deployed", "Return: paper", "ours"]
    head += ["Normalized regret: paper", "ours", "Errors: paper", "ours, deployed"]
    head += ["ours, raw", "ours, exact", "Mean shortfall", "Residual: paper", "ours"]
    head += ["Return of the actor", "Last lambda"]
    return section(
        f"Table II, {env}, {100 * fraction:g} % of the log",
        f"{_seeds(rows)} with 95 % bootstrap intervals. The prior of every variant is "
        "Monotone. Errors are those of the critic that the variant deploys; beside them "
        "those of the raw critic and of its exact projection.",
        table(head, lines),
        level=3,
    )


def _interpretations(results: Results) -> str:
    values = ("worst", "best", "logger", "logger_mode", "highest_bid")
    lines = [
        [
            row["interpretation"],
            *(f"{row[key]:.4f}" for key in values),
            f"{100 * row['monotone_share']:.1f} %",
            row["reachable"] or "none",
        ]
        for row in results["interpretations"]
    ]
    head = ["Reward of an impression", "Worst policy", "Optimum", "Logging policy"]
    head += ["Its likeliest bid", "Always bid 1", "Contexts where it rises"]
    if not lines:
        return ""
    return section(
        "Other interpretations of the auction",
        "Exact values, no training. A row of Table I can be reached if its return lies "
        "between the worst and the best policy's. Only where nothing is paid do all "
        "four. A critic that rises in the bid then bids 1 and earns 0.904, not 0.851.",
        table([*head, "Rows of Table I within reach"], lines),
        level=3,
    )


def _cost(results: Results) -> str:
    rows = results["cost"]

    def by_round(name: str, column: str = "update_ms") -> dict[int, float]:
        return by_seed(rows, column, key="round", algorithm=name)

    lines = []
    for name in distinct(rows, "algorithm"):
        update = by_round(name)
        ratios = [ratio(update, by_round(rival)) for rival in ("IQL", "CQL")]
        times = [interval(update, 2), interval(by_round(name, "fit_step_ms"), 2)]
        lines.append([name, *times, *(f"{value:.2f}" for value in ratios)])
    if not lines:
        return ""
    return section(
        "Cost",
        "Milliseconds, mean over rounds in which everything is timed in turn, one "
        "thread; ratios of updates are medians over rounds.",
        table(["Algorithm", "Update", "fit step", "Update / IQL", "Update / CQL"], lines),
        level=3,
    )
