"""The README's tables, computed from the published rows.

``python tests/project/readme_tables.py`` prints them, to paste after a new run.
"""

from __future__ import annotations

import csv
import functools
import pathlib
from collections.abc import Sequence

from benchmarks.engine.intervals import bootstrap_mean

ROOT = pathlib.Path(__file__).parents[2]
RESULTS = ROOT / "docs" / "results"
FRACTIONS = (1.0, 0.25, 0.0625)

AUCTION_ROWS = (
    *(
        "ClickModel",
        "Ours-Outcomes",
        "Ours-KnownCost",
        "CQL + Concave",
        "Ours-Concave",
        "IQL",
    ),
    *("DiscreteIQL", "CQL", "DQN", "IQL-default", "CQL-default"),
    *("Ours-paper", "BC (sampled)"),
)
SCARCE_ROWS = (
    *("ClickModel", "Ours-Monotone", "Ours-paper", "CQL + Concave", "DiscreteIQL"),
    *("DQN", "CQL"),
    *("IQL", "BC (sampled)"),
)
ONLINE_ROWS = ("SB3-DQN (online)", "SB3-PPO (online)", "ConstraintAwareDQN (online)")
#: The first that was run on a log of that size.
OURS_IN_CAMPAIGNS = (
    "Ours outcomes afterstates per step relabelled",
    "Ours shaped afterstates relabelled",
)
#: d3rlpy's methods, tuned by the same search, with budgets relabelled or as logged.
CAMPAIGN_BASELINES = (
    *("BC", "DQN", "CQL", "DiscreteIQL"),
    *("CQL relabelled", "DiscreteIQL relabelled"),
)


@functools.lru_cache
def rows(file: str) -> tuple[dict[str, str], ...]:
    with (RESULTS / file).open(newline="") as stream:
        return tuple(csv.DictReader(stream))


def values(file: str, column: str, **where: object) -> list[float]:
    """A column of the rows that match, one value a seed."""
    found = [
        float(row[column])
        for row in rows(file)
        if row[column] and all(_same(row[key], value) for key, value in where.items())
    ]
    assert len(found) in (0, 20), (file, where, len(found))
    return found


def _same(text: str, value: object) -> bool:
    return float(text) == value if isinstance(value, float) else text == value


def mean(*args: str, **where: object) -> float:
    found = values(*args, **where)
    return sum(found) / len(found)


def markdown(head: Sequence[str], lines: Sequence[Sequence[str]]) -> str:
    whole = [head, ["---"] * len(head), *lines]
    return "\n".join(f"| {' | '.join(line)} |" for line in whole)


def auction_table(folder: str, names: Sequence[str]) -> str:
    """Regret and violations of some algorithms."""
    file = f"{folder}/results.csv"
    columns = (("regret", 5), ("monotonicity_errors", 0), ("constraint_errors", 0))
    lines = []
    for name in names:
        shape = next(r["constraint"] for r in rows(file) if r["algorithm"] == name)
        cells = [values(file, column, algorithm=name) for column, _ in columns]
        shown = [
            bootstrap_mean(cell).format(digits) if cell else ""
            for cell, (_, digits) in zip(cells, columns, strict=True)
        ]
        lines.append([name, shape, *shown])
    head = ["Algorithm", "Shape", "Regret", "Monotonicity errors", "Own-shape errors"]
    return markdown(head, lines)


def ratio_table() -> str:
    """What a prior leaves of the regret without it, by the share of the log."""

    def regret(name: str, fraction: float) -> float:
        file = "BidClick-v0/results.csv" if fraction == 1.0 else "paper/table1.csv"
        return mean(file, "regret", algorithm=name, fraction=fraction, env="BidClick-v0")

    def of_outcomes(name: str, fraction: float) -> float:
        seeds: dict[str, dict[str, float]] = {name: {}, "IQL": {}}
        for row in rows("regret/regret.csv"):
            where = row["task"] == "5 bids" and float(row["fraction"]) == fraction
            if where and row["row"] in seeds:
                seeds[row["row"]][row["seed"]] = float(row["regret"])
        shared = seeds[name].keys() & seeds["IQL"].keys()
        ours, other = (sum(seeds[n][s] for s in shared) for n in (name, "IQL"))
        return ours / other

    lines = [
        [words, *(f"{of_outcomes(name, fraction):.2f}" for fraction in FRACTIONS)]
        for words, name in (
            (
                "log-odds of clicks rise concavely and ignore the cost, which is known",
                "... and do not depend on the cost",
            ),
            (
                "the log-odds of a click rise concavely, the cost is known",
                "outcomes: log-odds of a click rise concavely",
            ),
        )
    ]
    lines += [
        [words, *(f"{regret(ours, f) / regret(other, f):.2f}" for f in FRACTIONS)]
        for words, ours, other in (
            ("clicks rise concavely, the cost is known", "Ours-KnownCost", "IQL"),
            ("profit is concave", "Ours-Concave", "IQL"),
        )
    ]
    return markdown(["Prior", "100 % of the log", "25 %", "6.25 %"], lines)


def online_table() -> str:
    file = "BidClick-v0/online.csv"
    lines = [
        [name, bootstrap_mean(values(file, "regret", algorithm=name)).format(5)]
        for name in ONLINE_ROWS
    ]
    return markdown(["Algorithm", "Regret"], lines)


def campaign_table() -> str:
    """Our regret in campaigns beside the best baseline's, by logger and log size."""
    file = "budget/results.csv"
    lines = []
    for log, words in (("unpaced", "does not pace himself"), ("paced", "paces himself")):
        for fraction in FRACTIONS:

            def regret(name: str, log: str = log, fraction: float = fraction) -> float:
                return mean(file, "regret", learner=name, log=log, fraction=fraction)

            best = min(CAMPAIGN_BASELINES, key=regret)
            where = {"log": log, "fraction": fraction}
            name = next(
                n for n in OURS_IN_CAMPAIGNS if values(file, "regret", learner=n, **where)
            )
            ours = regret(name)
            lines.append(
                [
                    words,
                    f"{round(2000 * fraction):,}",
                    f"{ours:.3f} ({'outcomes' if 'outcomes' in name else 'shaped'})",
                    f"{regret(best):.3f} ({best})",
                    f"{ours / regret(best):.2f}",
                ]
            )
    head = ["The logger", "Campaigns", "Our regret", "Best baseline's", "Ratio"]
    return markdown(head, lines)


TABLES = {
    "auction": lambda: auction_table("BidClick-v0", AUCTION_ROWS),
    "ratios": ratio_table,
    "online": online_table,
    "campaigns": campaign_table,
    "scarce": lambda: auction_table("BidClickMonotone-v0-6.25", SCARCE_ROWS),
}

if __name__ == "__main__":
    for title, table in TABLES.items():
        print(title, table(), "", sep="\n\n")
