"""The README's figures are those of the published rows."""

from __future__ import annotations

import pathlib
import re
from typing import Any

import pytest

from benchmarks.engine import by_seed, interval, read_rows, select, table
from benchmarks.learners.campaigns import CAMPAIGN_LEARNERS

ROOT = pathlib.Path(__file__).parents[2]
README = (ROOT / "README.md").read_text()
RESULTS = ROOT / "docs" / "results"


def tables() -> list[str]:
    """The README's result tables, in order."""
    return re.findall(r"(\| Algorithm \|.*?)\n\n", README, re.DOTALL)


@pytest.mark.parametrize(
    ("index", "folder"),
    [(0, "BidClick-v0"), (1, "BidClickMonotone-v0-6.25")],
)
def test_result_tables_are_computed_from_the_rows(index: int, folder: str) -> None:
    shown = tables()[index]
    names = [line.split("|")[1].strip() for line in shown.splitlines()[2:]]
    assert len(names) >= 5
    rows = read_rows(RESULTS / folder / "results.csv")
    columns = (("regret", 5), ("monotonicity_errors", 0), ("constraint_errors", 0))
    lines = [
        [
            name,
            select(rows, algorithm=name)[0]["constraint"],
            *(interval(by_seed(rows, c, algorithm=name), n) for c, n in columns),
        ]
        for name in names
    ]
    head = ["Algorithm", "Shape", "Regret", "Monotonicity errors", "Own-shape errors"]
    assert shown == table(head, lines)


@pytest.mark.parametrize(
    ("log", "words"),
    [
        ("unpaced", "{}, {} and {} times the regret of the best tuned baseline"),
        ("paced", "{}, {} and {} times from the log of one who does"),
    ],
)
def test_quoted_ratios_of_campaigns_are_computed_from_the_rows(
    log: str, words: str
) -> None:
    rows = read_rows(RESULTS / "budget" / "results.csv")

    def regret(name: str, fraction: float) -> float:
        found = [
            float(row["regret"])
            for row in rows
            if (row["log"], row["learner"], row["fraction"]) == (log, name, fraction)
        ]
        assert len(found) == 20
        return sum(found) / 20

    ratios = []
    for fraction in (1.0, 0.25, 0.0625):
        rivals = [n for n, one in CAMPAIGN_LEARNERS.items() if one.kind == "baseline"]
        best = min(regret(name, fraction) for name in rivals)
        ratio = regret("Ours shaped afterstates relabelled", fraction) / best
        ratios.append(f"{ratio:.2f}".removeprefix("0"))
    assert words.format(*ratios) in " ".join(README.split())


def test_quoted_ratios_and_regrets_are_computed_from_the_rows() -> None:
    prose = " ".join(README.split())
    auction = read_rows(RESULTS / "BidClick-v0" / "results.csv")
    scarce = read_rows(RESULTS / "paper" / "table1.csv")

    def regret(rows: list[dict[str, Any]], name: str, fraction: float = 1.0) -> float:
        found = [
            float(row["regret"])
            for row in rows
            if (row["env"], row["algorithm"], row["fraction"])
            == ("BidClick-v0", name, fraction)
        ]
        assert len(found) == 20
        return sum(found) / 20

    def ratio(name: str, other: str, fraction: float = 1.0) -> str:
        rows = auction if fraction == 1.0 else scarce
        quotient = regret(rows, name, fraction) / regret(rows, other, fraction)
        return f"{quotient:.2f}".removeprefix("0")

    def three(name: str) -> str:
        first, second, third = (ratio(name, "IQL", f) for f in (1.0, 0.25, 0.0625))
        return f"{first}, {second} and {third} times"

    assert f"it is {three('Ours-KnownCost')} IQL's, tuned by the oracle" in prose
    assert f"profit is concave, {three('Ours-Concave')}." in prose
    assert f"has {ratio('CQL + Concave', 'CQL')} times its regret" in prose
    online = read_rows(RESULTS / "BidClick-v0" / "online.csv")
    names = ("SB3-DQN (online)", "SB3-PPO (online)", "ConstraintAwareDQN (online)")
    dqn, ppo, shaped = (f"{regret(online, n):.5f}".removeprefix("0") for n in names)
    assert f"a regret of {dqn} and {ppo}; the same DQN told the shape, {shaped}" in prose


def test_links_lead_somewhere() -> None:
    for target in re.findall(r"\]\(([^)#]+)\)", README):
        if not target.startswith("https://"):
            assert (ROOT / target).exists(), target


def test_the_number_of_claims() -> None:
    from benchmarks.paper.claims import CLAIMS

    assert f"[{len(CLAIMS)} claims](docs/paper-claims.md)" in README
