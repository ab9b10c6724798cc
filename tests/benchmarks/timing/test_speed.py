"""The speed benchmark: its arithmetic, its verdicts, and the whole path at toy size."""

from __future__ import annotations

import math
import pathlib
import re
import types
from typing import Any

import pytest
import torch

import bidclick_gym
from benchmarks.__main__ import main
from benchmarks.engine import EXPERIMENTS, Origin, Results, report_of
from benchmarks.engine.rows import read_rows
from benchmarks.engine.timing import Target, growth_exponent
from benchmarks.timing import env as speed_env
from benchmarks.timing import fit, scale
from benchmarks.timing.bare import BareLoop
from benchmarks.timing.speed import targets


def results_of(**rows: list[dict[str, Any]]) -> Results:
    return Results(rows, Origin("", "", ""), pathlib.Path())


def fit_rows(
    ours: float, bare: float, several: float, stock: float, dqn: float
) -> list[dict[str, Any]]:
    seconds = {
        (fit.OURS, 1): ours,
        (fit.OURS, fit.SEVERAL): several,
        (fit.BARE, 1): bare,
        (f"DiscreteCQL {fit.STOCK}", 1): stock,
        (f"DQN {fit.STOCK}", 1): 4.0,
        ("DQN", 1): dqn,
    }
    return [
        {
            "algorithm": name,
            "task": fit.REWARD,
            "critics": critics,
            "hidden": "64x64",
            "batch": 256,
            "round": turn,
            "seconds_per_step": value,
        }
        for (name, critics), value in seconds.items()
        for turn in range(3)
    ]


@pytest.mark.parametrize(
    ("figures", "word"),
    [((1.0, 1.0, 2.0, 5.0, 1.0), "reached"), ((1.5, 0.7, 6.0, 5.0, 1.15), "missed")],
)
def test_verdicts_follow_the_rows(figures: tuple[float, ...], word: str) -> None:
    results = results_of(fit=fit_rows(*figures))
    found = {target.name: target.verdict for target in targets(results)}
    judged = [
        f"{fit.REWARD}: ours / a bare loop, at the worst size",
        f"64x64, batch 256: {fit.SEVERAL} critics / one",
        "ours / stock DiscreteCQL, 64x64, batch 256",
        "ours / DQN on our buffer, likewise",
        "DQN on d3rlpy's buffer / on ours",
    ]
    assert [found.pop(name) for name in judged] == [word] * len(judged)
    # What was not measured is said to be so.
    assert set(found.values()) == {"not measured"}
    assert f"| {word} |" in report_of(EXPERIMENTS["speed"], results)


def test_the_bare_loop_learns_what_ours_learns() -> None:
    torch.manual_seed(0)
    log, _ = bidclick_gym.get_dataset(fraction=0.1, show_progress=False)
    loop = BareLoop(log, (16, 16), 64, is_later=False, is_click=True)
    loop.run(2000)
    x = torch.rand(200, 2)
    with torch.no_grad():
        coordinates = loop._network(x, (x - loop._x.mean(0)) / loop._x.std(0))
        lowest, highest = (
            loop._values(coordinates, loop._unit[place, None].expand(200, 1)).mean()
            for place in (0, -1)
        )
    # Of the auction's log-odds the lowest and the highest bid are 2 apart.
    assert float(loop._scale * (highest - lowest)) == pytest.approx(2.0, abs=0.5)


def test_targets_know_which_way_is_better() -> None:
    assert Target("", 2.0, 1.0, at_least=True).verdict == "reached"
    assert Target("", 2.0, 1.0, at_least=False).verdict == "missed"
    assert Target("", 0.5, 1.0, at_least=True).verdict == "missed"
    assert Target("", 0.5, 1.0, at_least=False).verdict == "reached"


def load_rows(size: int, theirs: float, ours: float) -> list[dict[str, Any]]:
    return [
        {
            "kind": kind,
            "impressions": size,
            "round": 0,
            "seconds": value,
            "peak_bytes": 1e6 * value,
            "kept_bytes": 1e6 * value,
        }
        for kind, value in ((scale.THEIRS, theirs), (scale.OURS, ours))
    ]


@pytest.mark.parametrize(
    ("size", "theirs", "word"),
    [
        (scale.FULL, 100.0, "reached"),
        (scale.FULL, 5.0, "missed"),
        # A ratio at another size answers another question.
        (20_000, 100.0, "not measured"),
    ],
)
def test_opening_is_judged_at_the_full_size(size: int, theirs: float, word: str) -> None:
    results = results_of(load=load_rows(size, theirs, 1.0))
    found = [target.verdict for target in targets(results) if "opening" in target.name]
    assert found == [word, word]


def test_what_is_far_goes_on_as_between_the_last_two_sizes() -> None:
    rows = [
        {**row, "seconds": seconds, "disk_bytes": 25.0 * size, "peak_bytes": 1e4 * size}
        for size, seconds in ((1e4, 0.5), (1e6, 1.0), (1e8, 100.0))
        for row in load_rows(int(size), 1.0, 1.0)
    ]
    lines = [line.split(" | ") for line in scale.report(rows).splitlines()]
    ours = [line[1:] for line in lines if line[0].startswith(f"| {scale.OURS}")]
    assert ours[-2] == ["", "0.58", "1.00", "", " |"]
    assert ours[-1] == ["10,000,000,000", "1e+04", "1e+08", "", "250 GB of files |"]


@pytest.mark.parametrize(
    ("name", "horizon", "mode", "impressions"),
    [
        (speed_env.BATCHED, 1, "next_step", 100),
        (speed_env.BATCHED, 1, "same_step", 200),
        # Three impressions and a reset: 12 such and two more in 50 steps.
        (speed_env.BATCHED, 3, "next_step", 152),
        (speed_env.SYNC, 3, "next_step", 152),
    ],
)
def test_reset_slots_are_not_impressions(
    name: str, horizon: int, mode: str, impressions: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    ticks = iter([0.0, 0.0, 2.0])
    clock = types.SimpleNamespace(perf_counter=lambda: next(ticks))
    monkeypatch.setattr(speed_env, "time", clock)
    assert speed_env._batched(name, 4, horizon, mode, 1.0) == (impressions, 2.0)


def test_growth_exponents() -> None:
    sizes = [10.0, 100.0, 1000.0]
    assert growth_exponent(sizes, [s**1.5 for s in sizes]) == pytest.approx(1.5)
    assert math.isnan(growth_exponent([10.0], [1.0]))


@pytest.mark.slow
def test_the_command_at_toy_size(
    tmp_path: pathlib.Path, capsys: pytest.CaptureFixture[str]
) -> None:
    main(["speed", "--quick", "--only", "fit,load", "--out", str(tmp_path)])
    # Which, is a matter of time.
    assert re.search(r"\| (reached|missed) \|", capsys.readouterr().out)
    timed, load = (read_rows(tmp_path / f"speed-{part}.csv") for part in ("fit", "load"))
    assert {row["task"] for row in timed} == set(fit.TASKS)
    assert {row["algorithm"] for row in timed} == {fit.OURS, fit.BARE, *fit.OTHERS}
    assert {row["impressions"] for row in load} == {10_000, 20_000}
    # Cut-off campaigns: d3rlpy loses the last impression of each, Minari keeps it.
    counts = {row["kind"]: row["transitions"] for row in load[:4]}
    assert counts["from_minari"] == 10_000
    assert counts["Arrow shards, reopened"] == counts["Minari + d3rlpy"] == 9_990
    fits = [row["said"] for row in load if row["kind"] == scale.TRAIN]
    assert fits == ["2 steps", "3 steps"]
    assert sorted(p.name for p in tmp_path.iterdir()) == [
        *("cells", "run.json", "speed-fit.csv", "speed-load.csv", "speed.md"),
    ]


def test_unknown_parts_are_refused(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["speed", "--only", "fit,everything"])
    assert "must be among fit, load, env, got 'everything'" in (capsys.readouterr().err)
