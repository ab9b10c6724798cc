"""Replay of a made file of auctions, whose prices have a known distribution."""

from __future__ import annotations

import pathlib
import re
from typing import Any

import numpy as np
import pytest

from benchmarks.__main__ import main
from benchmarks.engine import EXPERIMENTS, Origin, Results, UsageError, report_of
from benchmarks.engine.rows import read_rows
from benchmarks.replay import learners
from benchmarks.replay.bidders import GIVEN, Pacer, rlb
from benchmarks.replay.market import Market, read_market

IMPRESSIONS = 100


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Tab-separated click, market price and value, as of a campaign; values spread."""
    rng, folder, paths = np.random.default_rng(0), tmp_path_factory.mktemp("auctions"), {}
    for name, rows in (("data", 6_000), ("test", 4_000)):
        values = rng.lognormal(-7.0, 1.0, rows)
        prices = np.rint(rng.exponential(60.0, rows)).clip(1, 300).astype(int)
        lines = zip(rng.random(rows) < values, prices, values, strict=True)
        text = "".join(
            f"{click:d}\t{price}\t{value:.8f}\n" for click, price, value in lines
        )
        paths[name] = str(folder / f"{name}.txt")
        pathlib.Path(paths[name]).write_text(text)
    return paths


@pytest.fixture(scope="module")
def market(files: dict[str, str]) -> Market:
    return read_market(files["data"], files["test"], ("0", "1", "2"), IMPRESSIONS)


def won(market: Market, bidder: Any, share: float = 0.125) -> float:
    return float(market.play(bidder, market.test, market.budget(share))["value"])


def test_budgets_and_the_last_quarter(files: dict[str, str], market: Market) -> None:
    mean = market.train.market_price.mean()
    assert market.budget(0.125) == np.floor(IMPRESSIONS * mean / 8.0)
    split = read_market(files["data"], "", ("0", "1", "2"), IMPRESSIONS)
    assert (len(split.train), len(split.test)) == (4_500, 1_500)
    with pytest.raises(UsageError, match=r"--impressions must be .* 4,500 .* got 5000"):
        read_market(files["data"], "", ("0", "1", "2"), 5_000)


def test_rlb_is_its_recursion(market: Market) -> None:
    budget, program = market.budget(1 / 32), rlb(market, market.budget(1 / 32))
    prices, counts = np.unique(market.train.market_price, return_counts=True)
    mean = market.train.value.mean()
    values: Any = program.values
    for k, b in [(1, 50), (7, 20), (40, int(budget)), (100, 3)]:
        expected = values[k - 1, b]
        for price, count in zip(prices.astype(int), counts, strict=True):
            gain = -1.0
            if price <= b:
                gain = mean + values[k - 1, b - price] - values[k - 1, b]
            expected += count / counts.sum() * max(gain, 0.0)
        assert values[k, b] == pytest.approx(expected, rel=1e-12)
    seen = np.array([[50 / budget, 0.3, 0.001, -3.0]], np.float32)
    bid = int(program(seen)[0])
    gains = 0.001 + values[29, 50 - np.arange(51)] - values[29, 50]
    assert gains[bid] >= 0.0
    assert bid == 50 or gains[bid + 1] < 0.0


def test_who_knows_more_earns_more(market: Market) -> None:
    budget = market.budget(0.125)
    earned = {name: won(market, make(market, budget)) for name, make in GIVEN.items()}
    bound = market.hindsight(budget)
    assert max(earned.values()) <= bound
    assert earned["both histograms"] >= 0.95 * bound
    assert earned["both histograms"] >= max(earned.values()) - 0.005 * bound
    assert earned["PID"] >= 0.98 * earned["linear"]


def test_an_empty_budget_is_an_early_stop(market: Market) -> None:
    budget = market.budget(0.125)
    greedy = market.play(lambda seen: np.full(len(seen), 300.0), market.test, budget)
    assert greedy["early"] == 1.0
    assert greedy["spent"] > 0.98
    idle = market.play(lambda seen: np.zeros(len(seen)), market.test, budget)
    assert (idle["value"], idle["early"], idle["ecpc"]) == (0.0, 0.0, None)


def test_a_pacer_bids_more_where_the_budget_lasts() -> None:
    pacer = Pacer(1000.0, 2.0, 1.0, 0.0)
    start = np.array([[1.0, 1.0, 0.01, -2.0]], np.float32)
    assert pacer(start)[0] == pytest.approx(10.0, rel=1e-6)
    later = np.array([[0.9, 0.5, 0.01, -2.0]], np.float32)
    assert pacer(later)[0] == pytest.approx(10.0 * np.exp(2.0 * 0.4 + 0.2), rel=1e-5)
    # Another episode begins.
    assert pacer(start)[0] == pytest.approx(10.0, rel=1e-6)


def test_a_log_of_random_bids_has_no_market_prices(market: Market) -> None:
    task = learners.Task(market, market.budget(0.125))
    parts = task.log(0, ample=True).to_arrays()
    price = market.train.market_price
    bids = task.bids[parts["actions"].reshape(-1)]
    won = parts["extras"]["won"].reshape(-1) == 1
    assert (won == (bids >= price)).all()
    assert (parts["extras"]["payment"].reshape(-1) == price * won).all()
    # Shares are of the budget that is to be learned for.
    left = parts["observations"][:, 0].reshape(-1, IMPRESSIONS) * task.budget
    paid = (price * won).reshape(-1, IMPRESSIONS)
    assert np.allclose(left[:, 0] - left[:, -1], paid[:, :-1].sum(axis=1), atol=0.1)
    tight = task.log(0, ample=False).to_arrays()["observations"]
    assert tight[:, 0].max() == 1.0


@pytest.mark.slow
@pytest.mark.parametrize("share", [1 / 32, 1 / 2])
def test_ours_reaches_rlb_from_random_bids(market: Market, share: float) -> None:
    task = learners.Task(market, market.budget(share))
    earned = {
        name: won(market, learners.fit(task, name, 0, 600)[0], share)
        for name in (learners.OURS, learners.LOGGER)
    }
    reached = won(market, rlb(market, task.budget), share)
    assert earned[learners.OURS] >= 0.97 * reached
    assert earned[learners.LOGGER] < 0.8 * reached


def test_verdicts_follow_the_figures() -> None:
    given = [
        {"part": 8.0, "learner": n, "seed": 0, "value": v, "clicks": None}
        for n, v in (("RLB", 10.0), ("linear", 9.95))
    ]
    ours = [
        {
            "part": 8.0,
            "learner": "ours",
            "seed": s,
            "value": 9.92,
            "clicks": None,
            "steps": 10.0,
        }
        for s in range(3)
    ]
    for row in [*given, *ours]:
        row.update(ecpc=None, spent=0.9, early=0.0)
    rows = {"given": given, "learners": ours, "shapes": []}
    origin = Origin("command", "", "")
    text = report_of(EXPERIMENTS["replay"], Results(rows, origin, pathlib.Path()))
    assert "99 % of RLB's 10.00 **holds**" in text
    assert "at least linear's 9.95 **does not hold**" in text


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([], "--data must name a file"),
        (["--data", "nowhere.txt"], "--data must be a file, got nowhere.txt"),
        (["--data", __file__, "--columns", "0,1"], "--columns must be .* got 0,1"),
    ],
)
def test_what_cannot_be_run_is_refused(
    words: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        main(["replay", *words])
    assert re.search(message, capsys.readouterr().err)


@pytest.mark.slow
def test_quick_run_has_every_row(files: dict[str, str], tmp_path: pathlib.Path) -> None:
    words = ["--data", files["data"], "--columns", "0,1,2", "--impressions", "100"]
    main(["replay", *words, "--quick", "--out", str(tmp_path)])
    rows = read_rows(tmp_path / "learners.csv")
    assert {row["learner"] for row in rows} == set(learners.LEARNERS)
    given = read_rows(tmp_path / "given.csv")
    bound = max(row["value"] for row in given if row["learner"] == "hindsight bound")
    assert all(0.0 < row["value"] <= bound for row in [*rows, *given])
    assert len(read_rows(tmp_path / "shapes.csv")) == 6
    assert (tmp_path / "replay.png").exists()
    assert "## Verdict" in (tmp_path / "report.md").read_text()
