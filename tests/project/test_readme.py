"""The README's figures are those of the published rows."""

from __future__ import annotations

import pathlib
import re

import pytest

from benchmarks.files import read_rows
from benchmarks.report import short_table

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
    assert shown == short_table(read_rows(RESULTS / folder / "results.csv"), names)


def test_links_lead_somewhere() -> None:
    for target in re.findall(r"\]\(([^)#]+)\)", README):
        if not target.startswith("https://"):
            assert (ROOT / target).exists(), target


def test_the_number_of_claims() -> None:
    from benchmarks.paper.claims import CLAIMS

    assert f"[{len(CLAIMS)} claims](docs/paper-claims.md)" in README
