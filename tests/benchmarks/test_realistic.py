"""Realistic logs: each world's truth, the rivals' fits, and the experiment's path."""

from __future__ import annotations

import pathlib
from typing import Any

import numpy as np
import pytest

from benchmarks.__main__ import main
from benchmarks.engine import EXPERIMENTS, Origin, Results, report_of
from benchmarks.engine.rows import read_rows
from benchmarks.realistic.learners import COMPETITORS, outcomes_of
from benchmarks.realistic.sklearn_rivals import best_within
from benchmarks.realistic.worlds import JUDGED, WORLDS, on_grid

CQL = "CQL 0.01, decay 1"
EVERY_WORLD = pytest.mark.parametrize("name", list(WORLDS))


@EVERY_WORLD
def test_parts_have_the_shapes_that_users_say(name: str) -> None:
    world = WORLDS[name]
    contexts = world.judged[:200]
    for part in world.parts:
        means = on_grid(
            lambda x, a, column=part.column: world.means(x, a)[column],
            contexts,
            world.candidates,
        )
        steps = np.diff(means, axis=1)
        if part.rises:
            assert (part.rises * steps >= -1e-9).all()
            assert (part.rises * (means[:, -1] - means[:, 0]) > 0.0).all()
        else:
            assert np.allclose(steps, 0.0)
        if part.bends:
            assert (part.bends * np.diff(steps, axis=1) >= -1e-9).all()
        if part.link == "logit":
            assert ((means >= 0.0) & (means <= 1.0)).all()


@EVERY_WORLD
def test_logs_agree_with_the_truth(name: str) -> None:
    world = WORLDS[name]
    log = world.log(60_000, seed=3)
    assert np.allclose(
        log.rewards, world.reward(log.observations, log.actions, log.outcomes)
    )
    means = world.means(log.observations, log.actions)
    for part in world.parts:
        seen = np.ones(len(log), bool)
        if part.given is not None:
            seen = log.outcomes[part.given] == 1.0
            assert not log.outcomes[part.column][~seen].any()
        error = (log.outcomes[part.column] - means[part.column])[seen]
        assert abs(error.mean()) < 4.5 * error.std() / np.sqrt(len(error))
    value = world.value(log.observations, log.actions)
    error = log.rewards - value
    assert abs(error.mean()) < 4.5 * error.std() / np.sqrt(len(error))


@EVERY_WORLD
def test_propensities_are_those_of_the_logger(name: str) -> None:
    world = WORLDS[name]
    log = world.log(60_000, seed=1)
    assert (log.propensities > 0.0).all()
    # Under the true propensities weighted rows are as many as what they cover.
    covered = 1.0 if world.actions is None else len(np.unique(log.actions))
    weights = 1.0 / log.propensities
    share = (log.actions > np.median(world.candidates)) * weights
    expected = (
        0.5
        if world.actions is None
        else (np.unique(log.actions) > np.median(world.actions)).sum()
    )
    spread = 6.0 * share.std() / np.sqrt(len(log))
    assert abs(share.mean() - expected) < spread
    assert abs(weights.mean() - covered) < 0.1 * covered + 6.0 * spread


@EVERY_WORLD
def test_the_best_policy_has_no_regret(name: str) -> None:
    world = WORLDS[name]
    best, value = world.best
    assert world.regret(best) == 0.0
    assert np.allclose(world.value(world.judged, best), value)
    for action in world.candidates[:: max(1, len(world.candidates) // 4)]:
        assert world.regret(np.full(JUDGED, action)) > 0.0
    assert np.array_equal(world.log(50, 2).rewards, world.log(50, 2).rewards)
    assert not np.array_equal(world.log(50, 2).rewards, world.log(50, 3).rewards)


def test_payments_are_below_bids_and_above_nothing() -> None:
    world = WORLDS["second price"]
    paid = on_grid(
        lambda x, a: world.means(x, a)["paid"], world.judged[:300], world.candidates
    )
    assert (paid > 0.0).all()
    assert (paid <= world.candidates).all()


def test_best_actions_of_a_model_stay_within_the_ends() -> None:
    world = WORLDS["pricing"]
    contexts = world.judged[:700]
    free = best_within(world, world.value, contexts, -np.inf, np.inf)
    assert np.array_equal(free, world.best[0][:700])
    low, high = world.actions[4], world.actions[8]  # type: ignore[index]
    kept = best_within(world, world.value, contexts, low, high)
    assert ((kept >= low) & (kept <= high)).all()


def test_outcomes_say_what_is_known() -> None:
    won, value = outcomes_of(WORLDS["first price"])
    assert (won.link, won.weight, value.given) == ("logit", "-action", "won")
    assert not value.depends_on_action
    (units,) = outcomes_of(WORLDS["pricing"])
    assert units.shape.shape_set().slope_upper == 0.0
    benefit, harm = outcomes_of(WORLDS["dosing"])
    assert benefit.shape.shape_set().concave
    assert harm.shape.shape_set().convex


def row(name: str, regret: float, seed: int) -> dict[str, Any]:
    where = {"world": "first price", "size": 4000.0, "learner": name, "seed": seed}
    return {**where, "regret": regret * (1.0 + 0.01 * seed), "seconds": 1.0}


@pytest.mark.parametrize(
    ("ours", "half", "ahead"),
    [(0.02, True, True), (0.06, False, True), (0.2, False, False)],
)
def test_verdicts_follow_the_figures(ours: float, half: bool, ahead: bool) -> None:
    figures = {"ours": ours, "trees on outcomes": 0.05, CQL: 0.1, "Concave profit": 0.3}
    rows = [row(name, v, seed) for name, v in figures.items() for seed in range(6)]
    results = Results({"realistic": rows}, Origin("command", "", ""), pathlib.Path())
    text = report_of(EXPERIMENTS["realistic"], results)
    word = {True: "**holds**", False: "**does not hold**"}
    assert f"(*trees on outcomes*) {word[half]}: {ours / 0.05:.2f} times" in text
    assert f"below CQL and IQL {word[ahead]}: {ours / 0.1:.2f} times *{CQL}*" in text


@pytest.mark.slow
def test_quick_run_has_every_row(tmp_path: pathlib.Path) -> None:
    main(["realistic", "--quick", "--rows", "300", "--out", str(tmp_path)])
    rows = read_rows(tmp_path / "realistic.csv")
    assert {r["learner"] for r in rows} >= set(COMPETITORS)
    assert {r["world"] for r in rows} == set(WORLDS)
    assert "trees on outcomes, any action" in {r["learner"] for r in rows}
    assert all(r["regret"] >= 0.0 for r in rows)
    assert (tmp_path / "realistic.png").exists()
    assert "## Verdict" in (tmp_path / "report.md").read_text()
