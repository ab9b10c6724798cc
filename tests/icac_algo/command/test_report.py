"""The page of what was learned: what is on it, what it may not do, how it looks."""

from __future__ import annotations

import csv
import dataclasses
import html.parser
import json
import os
import pathlib
import re
import sys
from typing import Any

import numpy as np
import pytest

sys.path.insert(0, str(pathlib.Path(__file__).parents[2] / "benchmarks"))

import browser

from icac_algo.command.findings import _in_units
from icac_algo.command.learning import Learned, assess, learn
from icac_algo.command.policy import Policy
from icac_algo.command.preparation import NUMBER, Field
from icac_algo.command.report import report, results
from icac_algo.command.segments import segments
from icac_algo.command.spec import Spec
from icac_algo.evidence import Stopping

EVIL, COST = "<script>alert('x')</script>", 'cost & <b>"$y$"</b>'
COMMAND = f"icac learn --observe '{EVIL}'"


def write(file: pathlib.Path, rows: int = 400) -> pathlib.Path:
    rng = np.random.default_rng(0)
    cost, size = rng.normal(3.0, 2.0, rows), rng.integers(0, 2, rows)
    kind = rng.choice([EVIL, "plain", "长"], rows)
    price = rng.integers(1, 5, rows)
    sold = rng.poisson(np.exp(1.0 + 0.3 * size - 0.2 * price))
    with file.open("w", newline="", encoding="utf-8") as opened:
        table = csv.writer(opened)
        table.writerow([COST, "size", EVIL, "at", "price", "sold"])
        for i in range(rows):
            some = "" if i % 5 == 0 else f"{cost[i]:.3f}"
            at = f"2026-01-{1 + i % 28:02d} {i % 24:02d}:00:00"
            table.writerow([some, size[i], kind[i], at, price[i], sold[i]])
    return file


def learned_of(folder: pathlib.Path, **fields: Any) -> Learned:
    given = {
        "log": str(write(folder / "log.csv")),
        "observe": [COST, "size", EVIL, "at"],
        "act": "price",
        "reward": "price * sold",
        "steps": 20,
    }
    return learn(Spec.of({**given, **fields}), show_progress=False)


@pytest.fixture(scope="module")
def learned(tmp_path_factory: pytest.TempPathFactory) -> Learned:
    folder = tmp_path_factory.mktemp("log")
    found = learned_of(folder, shape=["concave"], held_out=0.5)
    # As if the steps had been searched for.
    rng, names = np.random.default_rng(0), ("free", f"{EVIL}, decay=1")
    losses = rng.uniform(size=(2, 3, 50))
    stopping = Stopping(names, np.array([10, 14, 20]), losses, np.ones(50, np.int64))
    checks = {**found.checks, "none": None}
    return dataclasses.replace(found, stopping=stopping, checks=checks)


@pytest.fixture(scope="module")
def page(learned: Learned) -> str:
    return report(learned, COMMAND)


class Seen(html.parser.HTMLParser):
    """Tags that are open, text by its tag, and images."""

    empty = ("meta", "link", "img", "source")

    def __init__(self, text: str):
        super().__init__()
        self.open: list[str] = []
        self.tags: set[str] = set()
        self.texts: list[tuple[str, str]] = []
        self.images: list[dict[str, Any]] = []
        self.feed(text)
        self.close()
        assert not self.open

    def handle_starttag(self, tag: str, attrs: Any) -> None:
        self.tags.add(tag)
        if tag == "img":
            self.images.append(dict(attrs))
        if tag not in self.empty:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.texts.append((self.open[-1] if self.open else "", data))

    def of(self, tag: str) -> list[str]:
        return [text for at, text in self.texts if at == tag]


def test_every_section_is_there(page: str, learned: Learned) -> None:
    seen = Seen(page)
    assert seen.of("h1") == ["A policy for price"]
    assert seen.of("h2") == [
        "What the log holds",
        "What was stated, and what the log says of it",
        "How long it was trained",
        "The policy against the logger and its rivals",
        "What it expects of each action",
        "What it does",
        "What it looks at",
        "What would change",
        "How to repeat it",
    ]
    assert learned.verdict in seen.of("p")
    assert COMMAND in seen.of("pre")
    assert learned.log.spec.to_toml() in seen.of("pre")
    # A check, the losses, the comparison, four contexts, a map, the importance.
    assert len(seen.images) == 9
    assert all(image["alt"] for image in seen.images)
    assert page.count("prefers-color-scheme: dark)") == 10


def test_what_a_log_holds_is_no_html(page: str) -> None:
    seen = Seen(page)
    assert not seen.tags & {"script", "iframe", "object"}
    assert EVIL in seen.of("dt")
    assert any(COST in cell for cell in seen.of("th"))
    assert any(EVIL in cell for cell in seen.of("th"))


def test_nothing_is_fetched_and_nothing_runs(page: str) -> None:
    assert "http" not in page
    assert not re.search(r"<script|javascript:|\son\w+=|@import|url\(", page)
    for source in re.findall(r'(?:src|srcset|href)="([^"]*)"', page):
        assert source.startswith(("data:", "#")), source


@pytest.mark.slow
def test_the_same_learning_gives_the_same_bytes(page: str, learned: Learned) -> None:
    assert report(learned, COMMAND) == page


def test_results_are_strict_json(learned: Learned) -> None:
    found = json.loads(json.dumps(results(learned), allow_nan=False))
    assert found["verdict"] == learned.verdict
    assert found["steps"] == 20
    assert list(found["checks"]) == ["concave", "none"]
    assert found["checks"]["none"] is None
    assert found["checks"]["concave"]["p_value"] == learned.checks["concave"].p_value
    names = [one["name"] for one in found["policies"]]
    assert sorted(names) == ["best single action", "boosted trees", "learned", "ridge"]


def test_segments_are_means_of_their_rows(learned: Learned) -> None:
    part = learned.log.held_out
    chosen, estimates = part.actions + 1.0, part.rewards + 0.5
    fields = learned.log.preparation.fields
    found = {one.name: one for one in segments(part, fields, chosen, estimates)}
    size = np.asarray(part.table["size"])
    one = found["size = yes"]
    assert one.rows == size.sum()
    assert one.logged == pytest.approx(part.actions[size == 1].mean())
    assert one.chosen - one.logged == pytest.approx(1.0)
    assert one.reward == pytest.approx(part.rewards[size == 1].mean())
    assert one.gain == pytest.approx(0.5)
    assert one.half == pytest.approx(0.0, abs=1e-12)
    # Of fewer than 30 rows nothing is said.
    few = segments(part.rows(np.arange(29)), fields, chosen[:29], estimates[:29])
    assert few == []


def test_a_gain_has_the_interval_of_its_groups(learned: Learned) -> None:
    part, fields = learned.log.training, learned.log.preparation.fields
    gains = np.random.default_rng(0).normal(size=len(part))
    found = segments(part, fields, part.actions, part.rewards + gains)
    one = next(one for one in found if one.name == "size = no")
    kept = gains[np.asarray(part.table["size"]) == 0]
    assert one.half == pytest.approx(1.96 * kept.std() / np.sqrt(len(kept)))
    quarters = [one for one in found if one.name.startswith(f"{COST} from")]
    assert len(quarters) == 4
    missing = next(one for one in found if one.name == f"{COST} is missing")
    rows = sum(one.rows for one in quarters) + missing.rows
    assert rows == len(part)


def test_regions_are_named_in_units_of_their_columns() -> None:
    fields = [Field("age", NUMBER, 40.0, 10.0), Field("price", NUMBER, 0.0, 2.0)]
    given = "age <= -1.5 and 0.25 < price <= 1e+01; my_age > 1; where age > 0.5."
    said = "age <= 25 and 0.5 < price <= 20; my_age > 1; where age > 45."
    assert _in_units(given, fields) == said


@pytest.mark.slow
def test_outcomes_have_their_own_panels_and_statements(tmp_path: pathlib.Path) -> None:
    found = learned_of(
        tmp_path,
        observe=["at", EVIL],
        outcomes=["sold: monotone:increasing=false; link=log; weight=action"],
    )
    seen = Seen(report(found, "icac learn"))
    assert "sold " in seen.of("h3")
    assert "It was trained for 20 steps, as was asked for." in seen.of("p")
    # There is no number to draw a map over.
    assert any("No numeric column" in said for said in seen.of("p"))


@pytest.mark.slow
def test_a_policy_that_was_opened_has_a_page(
    learned: Learned, tmp_path: pathlib.Path
) -> None:
    learned.policy.save(tmp_path)
    opened = assess(learned.log.spec, Policy.load(str(tmp_path)), show_progress=False)
    seen = Seen(report(opened, "icac report"))
    assert "It was trained for 20 steps, as was asked for." in seen.of("p")
    assert "concave" in seen.of("b")


@pytest.mark.browser
@pytest.mark.skipif(
    browser.find() is None and "CI_NEEDS_BROWSER" not in os.environ,
    reason="no Chromium on this machine",
)
@pytest.mark.parametrize("width", [390, 1280])
def test_the_page_renders_and_fits(page: str, tmp_path: pathlib.Path, width: int) -> None:
    assert browser.find() is not None, "this run was promised a browser"
    file = tmp_path / "report.html"
    file.write_text(page, "utf-8")
    shots = {}
    for dark in (False, True):
        shot = tmp_path / f"{dark}.png"
        found = browser.measure(file, width, dark, shot)
        assert found["width"] <= width
        assert found["outside"] == []
        assert found["requests"] == []
        assert len(found["images"]) == 9
        assert all(natural > 0 for _, natural, _ in found["images"])
        # One panel is seen whole; what is wider scrolls.
        assert all(shown > 250 for _, _, shown in found["images"])
        shots[dark] = shot.read_bytes()
    assert shots[False] != shots[True]
