"""The paper's experiments: theory, readings, ablations, and the reports they end in."""

from __future__ import annotations

import dataclasses
import itertools
import os
import pathlib
import re
import sys
from typing import Any

import d3rlpy
import numpy as np
import pytest
import torch

from benchmarks.__main__ import main
from benchmarks.auction import cells
from benchmarks.learners import fit_quietly
from benchmarks.paper import ablation, curves, policies
from benchmarks.paper.ablation import AblationCell, train_variant
from benchmarks.paper.critic_views import CriticView
from benchmarks.paper.curves import CurveCell, train_and_watch
from benchmarks.paper.experiments import PaperSettings, planned, read_results, run_parts
from benchmarks.paper.extend import adopt_published
from benchmarks.paper.ledger import NOT_RUN
from benchmarks.paper.readings import READINGS, reachable, values_of
from benchmarks.paper.theory import theory_figures
from benchmarks.paper.variants import VARIANTS
from bidclick_gym.auction import Auction
from bidclick_gym.behavior import ClippedGaussianPolicy
from bidclick_gym.evaluators import action_values, fixed_contexts
from icac_algo import Canonical, ColumnarReplayBuffer
from icac_algo.algos import penalty

sys.path.insert(0, str(pathlib.Path(__file__).parent))
import browser

ROOT = pathlib.Path(__file__).parents[2]


# -- theory and readings -----------------------------------------------------


def test_theory_figures_are_what_closed_forms_say() -> None:
    found = theory_figures()
    assert found == theory_figures()
    assert found["firmness"] >= 1.0 - 1e-6
    # Every projection is 0.99 at two values that differ by a constant, and no more where
    # the shape is made of differences.
    assert found["sup-norm growth, monotone"] <= 0.99 + 1e-9
    assert found["sup-norm growth, slope bounds"] <= 0.99 + 1e-9
    assert found["sup-norm growth, concave, worst pair"] == pytest.approx(0.99 * 1.4)
    assert found["L2 growth of T"] == pytest.approx(0.99 * np.sqrt(5.0))
    # The slope of the best line through where the states lead is 16/15.
    assert found["concave: growth in 50 sweeps"] == pytest.approx(
        (0.99 * 16 / 15) ** 50, rel=1e-6
    )
    # Eigenvalues of the second difference: 4 cos^2(pi / 10), twice.
    largest = 2.0 * 4.0 * np.cos(np.pi / 10) ** 2
    assert found["1 / L"] == pytest.approx(1.0 / largest)
    assert found["unit step: stops converging"] == pytest.approx(1 / largest, rel=0.05)
    assert found["violations, lambda 10000"] >= found["violations, lambda 0"] > 0.0
    assert found["C(u), lambda 10000"] < 1e-3 * found["C(u), lambda 100"]


def test_the_reading_as_stated_is_the_environment() -> None:
    auction = Auction()
    values = values_of(READINGS[0])
    probabilities = list(ClippedGaussianPolicy().probabilities)
    assert values.best == pytest.approx(auction.optimal_value(200), abs=1e-12)
    assert values.logger == pytest.approx(
        auction.value_of_random_bid(probabilities), abs=1e-6
    )
    assert values.highest_bid == pytest.approx(
        auction.value_of_constant_bid(1.0), abs=1e-6
    )
    assert values.monotone_share == pytest.approx(auction.monotone_share(), abs=1e-3)
    assert reachable(values) == []


def test_without_payment_a_rising_critic_earns_the_optimum() -> None:
    (free,) = [r for r in READINGS if r.name.startswith("no payment")]
    values = values_of(free)
    assert values.best == pytest.approx(values.highest_bid)
    assert len(reachable(values)) == 4


# -- ablations ---------------------------------------------------------------


@pytest.fixture(scope="module")
def log() -> ColumnarReplayBuffer:
    rng = np.random.default_rng(0)
    observations = rng.random((600, 2)).astype(np.float32)
    actions = rng.integers(5, size=(600, 1))
    # Falls in the bid: a prior of Monotone is violated everywhere.
    rewards = (1.0 - 0.2 * actions + 0.1 * rng.normal(size=(600, 1))).astype(np.float32)
    return ColumnarReplayBuffer.from_arrays(observations, actions, rewards, action_size=5)


def trained(name: str, log: ColumnarReplayBuffer, steps: int = 60) -> Any:
    d3rlpy.seed(0)
    algo = VARIANTS[name].make(steps).create(device="cpu:0")
    fit_quietly(algo, log, steps, epochs=1)
    return algo


def test_every_variant_is_another_algorithm(log: ColumnarReplayBuffer) -> None:
    """Same seed, same data: only those that are said to be one agree."""
    contexts = fixed_contexts(Auction(), 50)
    seen: dict[str, np.ndarray[Any, Any]] = {}
    for name, variant in VARIANTS.items():
        algo = trained(name, log)
        critic = action_values(CriticView(algo, "raw"), Auction(), contexts)
        actor = action_values(CriticView(algo, "actor"), Auction(), contexts)
        seen[name] = np.concatenate([critic, actor])
        if variant.same_as:
            assert np.array_equal(seen[name], seen[variant.same_as])
    different = [name for name, variant in VARIANTS.items() if not variant.same_as]
    for first, second in itertools.combinations(different, 2):
        assert not np.allclose(seen[first], seen[second]), (first, second)


def test_only_the_exact_critic_has_no_violations(log: ColumnarReplayBuffer) -> None:
    algo = trained("full", log, 200)
    contexts = fixed_contexts(Auction(), 100)
    raw, proximal, exact = (
        action_values(CriticView(algo, view), Auction(), contexts)
        for view in ("raw", "proximal", "exact")
    )
    steps = torch.diff(torch.as_tensor(exact), dim=1)
    assert bool((steps >= -1e-6).all())
    difference = np.diff(np.eye(5), axis=0)

    def size(values: Any) -> float:
        matrix = torch.as_tensor(difference)
        return float(penalty(torch.as_tensor(values).double(), matrix).sum())

    assert size(raw) > size(proximal) > 0.0
    assert np.count_nonzero(np.diff(proximal, axis=1) < 0.0) > 0


def test_a_soft_penalty_answers_with_its_free_critic(log: ColumnarReplayBuffer) -> None:
    algo = trained("soft penalty", log)
    contexts = fixed_contexts(Auction(), 50)
    own = action_values(algo, Auction(), contexts)
    raw = action_values(CriticView(algo, "raw"), Auction(), contexts)
    assert np.array_equal(own, raw)
    assert np.count_nonzero(np.diff(own, axis=1) < 0.0) > 0
    assert algo.multiplier > algo.config.critic.multiplier


def test_a_cold_start_takes_more_steps_to_the_same_tolerance(
    log: ColumnarReplayBuffer,
) -> None:
    algo = trained("no warm start", log)
    assert algo.impl.solves == 60
    assert algo.impl.inner_steps > algo.impl.solves


def test_an_actor_that_is_constrained_alone_bids(log: ColumnarReplayBuffer) -> None:
    algo = trained("actor only", log)
    contexts = fixed_contexts(Auction(), 50)
    assert np.array_equal(
        algo.predict(contexts), CriticView(algo, "actor").predict(contexts)
    )


def test_an_ablated_model_survives_saving(
    log: ColumnarReplayBuffer, tmp_path: pathlib.Path
) -> None:
    algo = trained("actor only", log)
    algo.save(str(tmp_path / "model.d3"))
    loaded = d3rlpy.load_learnable(str(tmp_path / "model.d3"))
    contexts = fixed_contexts(Auction(), 50)
    assert np.array_equal(algo.predict(contexts), loaded.predict(contexts))


def test_bad_ablations_and_views_are_refused(log: ColumnarReplayBuffer) -> None:
    config = VARIANTS["soft penalty"].make(10)
    with pytest.raises(ValueError, match=r"ablation must be one of .*, got 'none'"):
        dataclasses.replace(config, ablation="none")  # type: ignore[call-arg]
    for field, value in (("critic", Canonical()), ("actor", "softmax")):
        with pytest.raises(ValueError, match=r"critic must be Euclidean.* and actor"):
            dataclasses.replace(config, **{field: value})
    with pytest.raises(ValueError, match=r"view must be one of .*, got 'deployed'"):
        CriticView(None, "deployed")


def test_each_row_says_which_critic_is_counted() -> None:
    rows = train_variant(AblationCell("full", fraction=0.01, steps=5))
    assert [row["critic"] for row in rows] == ["raw", "proximal", "exact"]
    assert [row["counted"] for row in rows] == [0, 1, 0]
    rows = train_variant(AblationCell("actor only", fraction=0.01, steps=5))
    assert [row["critic"] for row in rows if row["counted"]] == ["actor"]
    twin = train_variant(AblationCell("actor only", fraction=0.01, steps=5))
    for row, other in zip(rows, twin, strict=True):
        assert {**row, "train_seconds": 0} == {**other, "train_seconds": 0}


def test_curves_check_the_own_shape_after_every_step() -> None:
    rows = train_and_watch(CurveCell("Ours-Concave", steps=30, every=10))
    assert [row["step"] for row in rows] == [1, 10, 20, 30]
    assert [row["checked"] for row in rows] == [1, 10, 20, 30]
    assert all(row["own_errors"] == 0.0 for row in rows)
    config = CurveCell("DQN").config()
    assert (config.gamma, config.target_update_interval) == (0.99, 500)


# -- the whole command -------------------------------------------------------


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> pathlib.Path:
    """A quick run of everything, as the command line makes it."""
    out = tmp_path_factory.mktemp("paper")
    main(["paper", "--quick", "--out", str(out)])
    return out


def test_a_quick_run_leaves_everything(folder: pathlib.Path) -> None:
    names = {path.name for path in folder.iterdir()}
    parts = {f"{part}.csv" for part in PaperSettings().parts}
    reports = {"report.md", "report.html", "paper-claims.md", "run.json"}
    assert names == {"cells", "pictures", *parts, *reports}
    report = (folder / "report.md").read_text()
    linked = re.findall(r"\]\(([^)]+)\)", report)
    assert linked
    assert all((folder / link).exists() for link in linked)


def test_everything_is_rebuilt_from_the_csv_files_alone(
    folder: pathlib.Path, tmp_path: pathlib.Path
) -> None:
    for path in (*folder.glob("*.csv"), folder / "run.json"):
        (tmp_path / path.name).write_bytes(path.read_bytes())
    main(["paper", "--rebuild", "--out", str(tmp_path)])
    assert not (tmp_path / "cells").exists()
    made = [p for p in folder.rglob("*") if p.is_file() and p.parent.name != "cells"]
    assert len(made) > 20
    for path in made:
        again = tmp_path / path.relative_to(folder)
        assert again.read_bytes() == path.read_bytes(), path.name


def test_the_published_ledger_is_what_the_published_rows_give(
    tmp_path: pathlib.Path,
) -> None:
    published = ROOT / "docs" / "results" / "paper"
    for path in (*published.glob("*.csv"), published / "run.json"):
        (tmp_path / path.name).write_bytes(path.read_bytes())
    main(["paper", "--rebuild", "--out", str(tmp_path)])
    ledger = ROOT / "docs" / "paper-claims.md"
    assert (tmp_path / "paper-claims.md").read_bytes() == ledger.read_bytes()


def test_a_run_goes_on_where_it_was(folder: pathlib.Path) -> None:
    before = {p: p.stat().st_mtime_ns for p in (folder / "cells").iterdir()}
    main(["paper", "--quick", "--out", str(folder), "--only", "table2,readings"])
    assert {p: p.stat().st_mtime_ns for p in (folder / "cells").iterdir()} == before
    assert read_results(folder).table1


def test_published_rows_count_as_finished_cells(
    folder: pathlib.Path, tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = PaperSettings(
        parts=("table1", "table2", "curves", "policies"),
        seeds=1,
        curve_seeds=1,
        steps=60,
        quick=True,
        out=tmp_path,
    )
    wanted = {c.digest for part in settings.parts for c in planned(part, settings)}
    assert adopt_published(settings, folder) == len(wanted)
    assert adopt_published(settings, folder) == 0

    def refuse(*arguments: Any) -> None:
        raise AssertionError("a finished cell was run again")

    for module in (cells, ablation, curves, policies):
        monkeypatch.setattr(module, "fit_quietly", refuse, raising=False)
    run_parts(settings)
    for part in settings.parts:
        again = (tmp_path / f"{part}.csv").read_text()
        assert again == (folder / f"{part}.csv").read_text(), part


def test_more_seeds_are_run_and_published_ones_are_not(
    folder: pathlib.Path, tmp_path: pathlib.Path
) -> None:
    settings = PaperSettings(parts=("table1",), seeds=3, steps=60, out=tmp_path)
    assert adopt_published(settings, folder) == 12
    kept = {path.stem for path in (tmp_path / "cells").iterdir()}
    open_cells = [c for c in planned("table1", settings) if c.digest not in kept]
    assert {cell.seed for cell in open_cells} == {0, 1, 2}
    assert not [
        cell
        for cell in open_cells
        if (cell.seed, cell.env, cell.fraction) == (0, "BidClick-v0", 1.0)
        and cell.algorithm in ("BC", "DQN", "CQL", "IQL")
    ]
    # Other numbers of steps are other cells.
    longer = dataclasses.replace(settings, steps=61)
    assert adopt_published(longer, folder) == 0
    with pytest.raises(FileNotFoundError, match="no published rows of table1"):
        adopt_published(settings, tmp_path)


def test_a_ledger_with_few_seeds_does_not_pretend(folder: pathlib.Path) -> None:
    ledger = (folder / "paper-claims.md").read_text()
    assert f"results / highest return: {NOT_RUN}" in ledger
    assert "consistency / returns can be had: does not hold" in ledger


def test_plans_are_whole_seeds_and_have_no_twins() -> None:
    settings = PaperSettings(seeds=2, curve_seeds=1)
    for part in ("table1", "table2", "curves", "cost", "policies"):
        cells = planned(part, settings)
        digests = [cell.digest for cell in cells]
        assert len(set(digests)) == len(digests) > 0
        seeds = [getattr(cell, "seed", 0) for cell in cells]
        assert seeds == sorted(seeds)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--only", "table3"], "--only must be among theory"),
        (["--rebuild", "--out", "nowhere"], "--rebuild needs a finished run"),
        (["--extend", "nowhere"], "--extend needs a folder with CSV files"),
        (["--seeds", "0"], "must be at least 1"),
        (["--workers", "none"], "invalid"),
    ],
)
def test_bad_words_are_refused(
    words: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as error:
        main(["paper", *words])
    assert error.value.code == 2
    assert message in capsys.readouterr().err


@pytest.mark.skipif(
    browser.find() is None and "CI_NEEDS_BROWSER" not in os.environ,
    reason="no Chromium on this machine",
)
@pytest.mark.parametrize("dark", [False, True])
@pytest.mark.parametrize("width", [390, 1280])
def test_the_page_renders_and_fits(folder: pathlib.Path, width: int, dark: bool) -> None:
    assert browser.find() is not None, "this run was promised a browser"
    found = browser.measure(folder / "report.html", width, dark)
    assert found["width"] <= width
    assert found["outside"] == []
    assert found["requests"] == []
    assert len(found["images"]) >= 10
    for name, natural, shown in found["images"]:
        assert natural > 0, name
        assert 100 < shown <= width, name
    light = found["background"] == "rgb(255, 255, 255)"
    assert light != dark
