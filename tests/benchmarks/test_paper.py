"""The paper's experiments: theory, interpretations, ablations, and the reports."""

from __future__ import annotations

import dataclasses
import itertools
import pathlib
import re
import shutil
from typing import Any

import d3rlpy
import numpy as np
import pytest
import torch

from benchmarks.__main__ import main
from benchmarks.engine import Cell, Settings
from benchmarks.engine.rows import read_rows, select
from benchmarks.learners import fit_quietly
from benchmarks.paper.claims import CLAIMS
from benchmarks.paper.claims.verdicts import FAILS, NOT_RUN, judge
from benchmarks.paper.critic_views import CriticView
from benchmarks.paper.curves import CURVES_PART, watch_training
from benchmarks.paper.experiment import PAPER
from benchmarks.paper.interpretations import INTERPRETATIONS, values_of
from benchmarks.paper.table2 import measure_variant
from benchmarks.paper.theory import theory_figures
from benchmarks.paper.variants import VARIANTS
from bidclick_gym.auction import Auction
from bidclick_gym.behavior import ClippedGaussianPolicy
from bidclick_gym.evaluators import action_values, fixed_contexts
from icac_algo import Canonical, ColumnarReplayBuffer
from icac_algo.algos import penalty

ROOT = pathlib.Path(__file__).parents[2]
PUBLISHED = ROOT / "docs" / "results" / "paper"


# -- theory and interpretations ----------------------------------------------


@pytest.mark.slow
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


def test_the_interpretation_as_stated_is_the_environment() -> None:
    auction = Auction()
    values = values_of(INTERPRETATIONS[0])
    probabilities = list(ClippedGaussianPolicy().probabilities)
    assert values["best"] == pytest.approx(auction.optimal_value(200), abs=1e-12)
    assert values["logger"] == pytest.approx(
        auction.value_of_random_bid(probabilities), abs=1e-6
    )
    assert values["highest_bid"] == pytest.approx(
        auction.value_of_constant_bid(1.0), abs=1e-6
    )
    assert values["monotone_share"] == pytest.approx(auction.monotone_share(), abs=1e-3)
    assert values["reachable"] == ""


def test_without_payment_a_rising_critic_earns_the_optimum() -> None:
    (free,) = [i for i in INTERPRETATIONS if i.name.startswith("no payment")]
    values = values_of(free)
    assert values["best"] == pytest.approx(values["highest_bid"])
    assert len(values["reachable"].split(", ")) == 4


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


def variant_cell(name: str) -> Cell:
    return Cell.of("table2", name, env="BidClick-v0", fraction=0.01, steps=5)


def test_each_row_says_which_critic_is_counted() -> None:
    rows = measure_variant(variant_cell("full"))
    assert [row["critic"] for row in rows] == ["raw", "proximal", "exact"]
    assert [row["counted"] for row in rows] == [0, 1, 0]
    rows = measure_variant(variant_cell("actor only"))
    assert [row["critic"] for row in rows if row["counted"]] == ["actor"]
    twin = measure_variant(variant_cell("actor only"))
    for row, other in zip(rows, twin, strict=True):
        assert {**row, "train_seconds": 0} == {**other, "train_seconds": 0}


def test_curves_check_the_own_shape_after_every_step() -> None:
    rows = watch_training(Cell.of("curves", "Ours-Concave", steps=30, every=10))
    assert [row["step"] for row in rows] == [1, 10, 20, 30]
    assert [row["checked"] for row in rows] == [1, 10, 20, 30]
    assert all(row["own_errors"] == 0.0 for row in rows)
    assert CURVES_PART.config is not None
    config = CURVES_PART.config(Cell.of("curves", "DQN", steps=30))
    assert (config.gamma, config.target_update_interval) == (0.99, 500)


# -- the command -------------------------------------------------------------


def test_plans_are_whole_seeds_and_have_no_twins() -> None:
    for part in PAPER.parts:
        if part.cells is not None:
            cells = part.plan(Settings(pathlib.Path(), seeds=2, steps=10))
            assert len({cell.digest for cell in cells}) == len(cells) > 0
            seeds = [cell.seed for cell in cells]
            assert seeds == sorted(seeds)
            assert part.alone == (part.name == "cost")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--only", "table3"], "argument --only: must be among theory"),
        (["--rebuild", "--out", "nowhere"], "--rebuild needs results"),
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


def rebuilt(source: pathlib.Path, folder: pathlib.Path) -> pathlib.Path:
    """Reports made from the rows of a folder alone."""
    for path in (*source.glob("*.csv"), source / "run.json"):
        (folder / path.name).write_bytes(path.read_bytes())
    main(["paper", "--rebuild", "--out", str(folder)])
    return folder


@pytest.fixture(scope="module")
def published(tmp_path_factory: pytest.TempPathFactory) -> pathlib.Path:
    return rebuilt(PUBLISHED, tmp_path_factory.mktemp("published"))


@pytest.mark.slow
def test_the_published_reports_are_what_the_published_rows_give(
    published: pathlib.Path,
) -> None:
    ledger = (ROOT / "docs" / "paper-claims.md").read_text()
    assert (published / "paper-claims.md").read_text() == ledger
    report = (published / "report.md").read_text()
    there = (PUBLISHED / "report.md").read_text()
    assert there.replace("../../paper-claims.md", "paper-claims.md") == report
    linked = re.findall(r"\]\(([^)]+)\)", report)
    assert len(linked) == 1 + len(PAPER.pictures)
    assert all((published / link).exists() for link in linked)
    linked = re.findall(r"\]\(([^)]+)\)", there)
    assert all((PUBLISHED / link).exists() for link in linked)


def test_a_ledger_of_few_seeds_does_not_pretend() -> None:
    rows = {part.name: read_rows(part.path(PUBLISHED)) for part in PAPER.parts}
    for name in ("table1", "table2"):
        rows[name] = select(rows[name], seed=0.0)
    verdicts = {claim.key: found.verdict for claim, found in judge(rows, CLAIMS)}
    assert verdicts["results / highest return"] == NOT_RUN
    assert verdicts["ablation / dual lambda is best"] == NOT_RUN
    assert verdicts["consistency / returns can be had"] == FAILS


def test_one_part_alone_gives_a_report(tmp_path: pathlib.Path) -> None:
    for name in ("curves.csv", "run.json"):
        shutil.copy(PUBLISHED / name, tmp_path / name)
    main(["paper", "--rebuild", "--out", str(tmp_path)])
    assert {p.stem for p in (tmp_path / "pictures").iterdir()} == {
        f"curve-{name}"
        for name in ("regret", "residual", "monotonicity-errors", "lambda")
    }


@pytest.mark.slow
def test_a_quick_run_leaves_everything(tmp_path: pathlib.Path) -> None:
    folder = tmp_path / "paper"
    main(["paper", "--quick", "--out", str(folder)])
    names = {path.name for path in folder.iterdir()}
    parts = {f"{part.name}.csv" for part in PAPER.parts}
    reports = {"report.md", "paper-claims.md", "run.json"}
    assert names == {"cells", "pictures", *parts, *reports}
    # Nothing is run twice, and parts that are not asked for stay.
    before = {p: p.stat().st_mtime_ns for p in (folder / "cells").iterdir()}
    only = "table2,interpretations,cost"
    main(["paper", "--quick", "--out", str(folder), "--only", only])
    assert {p: p.stat().st_mtime_ns for p in (folder / "cells").iterdir()} == before
    # Everything comes again from the rows alone.
    (tmp_path / "again").mkdir()
    again = rebuilt(folder, tmp_path / "again")
    made = [p for p in folder.rglob("*") if p.is_file() and p.parent.name != "cells"]
    assert len(made) == len(PAPER.parts) + len(PAPER.pictures) + len(reports)
    for path in made:
        twin = again / path.relative_to(folder)
        assert twin.read_bytes() == path.read_bytes(), path.name
