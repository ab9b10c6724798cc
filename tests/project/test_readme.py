"""What the README says is so: its tables, its figures, its links and its code."""

from __future__ import annotations

import pathlib
import re

import pytest

from benchmarks.learners.campaigns import CAMPAIGN_LEARNERS
from benchmarks.paper.claims import CLAIMS
from bidclick_gym import Auction
from tests.project.readme_tables import CAMPAIGN_BASELINES, ROOT, TABLES

README = (ROOT / "README.md").read_text()
BLOCKS = re.findall(r"```python\n(.*?)```", README, re.DOTALL)


@pytest.mark.parametrize("name", sorted(TABLES))
def test_tables_are_computed_from_the_published_rows(name: str) -> None:
    assert TABLES[name]() in README


def test_the_campaigns_table_compares_with_every_baseline() -> None:
    known = {
        name for name, learner in CAMPAIGN_LEARNERS.items() if learner.kind == "baseline"
    }
    assert set(CAMPAIGN_BASELINES) == known


def test_figures_of_the_auction_are_exact() -> None:
    auction = Auction()
    prose = " ".join(README.split())
    assert f"the optimum is {auction.optimal_value():.3f}" in prose
    assert f'{1000 * sum(auction.falling_pairs()):,.0f} "monotonicity errors"' in prose


def test_the_number_of_claims() -> None:
    assert f"[{len(CLAIMS)} claims](docs/paper-claims.md)" in README


def test_the_first_example_is_short() -> None:
    assert len([line for line in BLOCKS[0].splitlines() if line.strip()]) <= 12


@pytest.mark.slow
@pytest.mark.parametrize("block", BLOCKS, ids=range(len(BLOCKS)))
def test_every_block_runs_by_itself(block: str, working_folder: pathlib.Path) -> None:
    exec(compile(block, "README.md", "exec"), {"__name__": "__main__"})


def _anchor(heading: str) -> str:
    """What GitHub makes of a heading."""
    kept = re.sub(r"[^\w\- ]", "", heading.strip().lower())
    return kept.replace(" ", "-")


@pytest.mark.parametrize(
    "page",
    sorted(
        [*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"), *ROOT.glob("benchmarks/*.md")]
    ),
    ids=lambda page: str(page.relative_to(ROOT)),
)
def test_links_lead_somewhere(page: pathlib.Path) -> None:
    text = re.sub(r"```.*?```", "", page.read_text(), flags=re.DOTALL)
    for target in re.findall(r"\]\(([^)\s]+)\)", text):
        if target.startswith(("https://", "http://", "mailto:")):
            continue
        file, _, anchor = target.partition("#")
        found = page if not file else (page.parent / file).resolve()
        assert found.exists(), target
        if anchor and found.suffix == ".md":
            headings = re.findall(r"^#+ (.*)$", found.read_text(), re.MULTILINE)
            assert anchor in {_anchor(heading) for heading in headings}, target
