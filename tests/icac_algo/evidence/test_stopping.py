"""Held-out losses, the step count that they choose, and where an algorithm uses it."""

from __future__ import annotations

import pathlib
from typing import Any

import d3rlpy
import numpy as np
import pytest
import torch
from d3rlpy.algos import DiscreteCQLConfig
from d3rlpy.models import VectorEncoderFactory
from d3rlpy.preprocessing import StandardRewardScaler

from icac_algo import (
    ColumnarReplayBuffer,
    Concave,
    ConstraintAwareQConfig,
    DiscreteIQLConfig,
    HeldOutCallback,
    Outcome,
    choose_n_steps,
)
from icac_algo.evidence import Stopping
from icac_algo.evidence.held_out import Answers, HeldOut
from icac_algo.evidence.stopping import default_most, looks

QUIET: dict[str, Any] = {
    "show_progress": False,
    "logger_adapter": d3rlpy.logging.NoopAdapterFactory(),
}
SMALL = VectorEncoderFactory([8])


def bandit(rows: int = 90, seed: int = 0, features: int = 2) -> ColumnarReplayBuffer:
    rng = np.random.default_rng(seed)
    x = rng.uniform(-1.0, 1.0, (rows, features)).astype(np.float32)
    action = rng.integers(3, size=rows)
    y = x[:, 0] - (action - 1.0) ** 2 + rng.normal(0.0, 0.1, rows)
    return ColumnarReplayBuffer.from_arrays(x, action, y, extras={"y": y}, action_size=3)


def episodes(count: int = 30, length: int = 4) -> ColumnarReplayBuffer:
    rng = np.random.default_rng(1)
    rows = count * length
    ends = np.arange(rows) % length == length - 1
    return ColumnarReplayBuffer.from_arrays(
        rng.uniform(-1.0, 1.0, (rows, 2)).astype(np.float32),
        rng.integers(3, size=rows),
        rng.normal(size=rows),
        terminals=ends.astype(np.float32),
        action_size=3,
    )


def ours(**fields: Any) -> Any:
    fields = {"constraint": Concave()} | fields
    return ConstraintAwareQConfig(
        gamma=0.5, batch_size=16, critic_encoder_factory=SMALL, **fields
    ).create(device="cpu:0")


def small_iql() -> Any:
    return DiscreteIQLConfig(
        batch_size=16,
        actor_encoder_factory=SMALL,
        critic_encoder_factory=SMALL,
        value_encoder_factory=SMALL,
    ).create(device="cpu:0")


class Known:
    """An algorithm that is not trained: its values are a function of its step count."""

    impl = True
    reward_scaler = None
    gamma = 0.5

    def __init__(self, values: Any):
        self.values, self.step = values, 0

    def get_action_type(self) -> Any:
        return d3rlpy.ActionSpace.DISCRETE

    def predict(self, x: Any) -> Any:
        return np.zeros(len(x), np.int64)

    def predict_value(self, x: Any, actions: Any) -> Any:
        return self.values(x, actions, self.step)

    def fit(self, dataset: Any, n_steps: int, callback: Any, **others: Any) -> None:
        for self.step in range(1, n_steps + 1):
            callback(self, 1, self.step)


def truth(x: Any, actions: Any) -> Any:
    return x[:, 0] - (actions - 1.0) ** 2


def test_looks_are_powers_of_the_root_of_two_from_an_eighth_on() -> None:
    assert looks(800) == [100, 141, 200, 283, 400, 566, 800]
    assert looks(2) == [1, 2]
    assert looks(1) == [1]
    assert [default_most(n) for n in (4000, 100_000, 1)] == [5000, 18_100, 200]


def test_answers_by_hand() -> None:
    log = bandit(20)
    judged = HeldOut(log)
    found = judged.answers(Known(lambda x, a, step: x[:, 1] + a))
    columns = log.to_arrays()
    x, a, r = columns["observations"], columns["actions"].reshape(-1), columns["rewards"]
    np.testing.assert_allclose(found.errors, x[:, 1] + a - r.reshape(-1), atol=1e-6)
    levels = np.quantile(a, (np.arange(16) + 0.5) / 16, method="nearest")
    np.testing.assert_allclose(found.baselines, x[:, 1] + levels.mean(), atol=1e-6)
    assert not found.following.any()
    assert judged.is_one_step


def test_losses_are_half_squared_bellman_errors_with_their_own_baseline() -> None:
    log = episodes(3)
    judged = HeldOut(log)
    found = judged.answers(Known(lambda x, a, step: x[:, 1] + a))
    losses = judged.losses(found, 0.5, found.baselines, found.following)
    columns = log.to_arrays()
    x, a = columns["observations"], columns["actions"].reshape(-1)
    ends = columns["terminals"].reshape(-1) > 0.0
    following = np.where(ends, 0.0, np.roll(x[:, 1], -1))
    target = columns["rewards"].reshape(-1) + 0.5 * following
    np.testing.assert_allclose(losses, 0.5 * (x[:, 1] + a - target) ** 2, atol=1e-5)
    assert judged.per_episode(losses).shape == (3,)


@pytest.mark.parametrize("shift", [0.0, 1000.0])
def test_what_all_actions_of_a_state_share_changes_no_loss(shift: float) -> None:
    judged = HeldOut(bandit())
    one = judged.answers(Known(lambda x, a, step: truth(x, a)))
    moved = judged.answers(Known(lambda x, a, step: truth(x, a) + shift * x[:, 1]))
    both = [judged.losses(a, 0.0, one.baselines, one.following) for a in (one, moved)]
    np.testing.assert_allclose(*both, atol=1e-3)


def test_the_step_where_values_are_true_is_chosen() -> None:
    def values(x: Any, actions: Any, step: int) -> Any:
        # Differences of actions are right at step 400 alone.
        return truth(x, actions) * (1.0 + abs(np.log(step / 400.0)))

    found = choose_n_steps(
        bandit(300), lambda: Known(values), most=1200, show_progress=False
    )
    # A pass over all transitions is half as long again as over those of two folds.
    assert found.n_steps == 600
    assert found.losses.shape == (1, len(looks(800)), 300)
    assert "400" in str(found)
    assert found.standard_errors[0, found.steps.tolist().index(400)] == 0.0


def test_the_setting_whose_values_are_true_is_chosen() -> None:
    make = {
        "steep": lambda: Known(lambda x, a, step: 2.0 * truth(x, a)),
        "right": lambda: Known(lambda x, a, step: truth(x, a)),
    }
    found = choose_n_steps(bandit(), make, most=150, show_progress=False)
    assert found.name == "right"


def test_a_setting_that_one_fold_shows_to_be_worse_is_trained_once() -> None:
    trained = []

    def made(name: str, slope: float) -> Any:
        def make() -> Known:
            # One more is made of each, to ask for its config.
            trained.append(name)
            return Known(lambda x, a, step: slope * truth(x, a))

        return make

    settings = {"wrong": made("wrong", -1.0), "near": made("near", 0.999)}
    settings["right"] = made("right", 1.0)
    found = choose_n_steps(bandit(), settings, 200, show_progress=False)
    assert found.names == ("near", "right")
    assert found.dropped == ("wrong",)
    assert "Dropped: wrong." in str(found)
    assert {name: trained.count(name) - 1 for name in settings} == {
        "wrong": 1,
        "near": 3,
        "right": 3,
    }
    assert found.losses.shape == (2, 7, 90)


def test_means_and_standard_errors_by_hand() -> None:
    losses = np.array([[[1.0, 2.0, 4.0], [2.0, 2.0, 6.0]]])
    found = Stopping(("a",), np.array([100, 141]), losses, np.array([1, 1, 2]))
    np.testing.assert_allclose(found.means, [[7.0 / 4.0, 10.0 / 4.0]])
    residual = np.array([1.0, 0.0, 2.0]) - 0.75 * np.array([1.0, 1.0, 2.0])
    expected = np.sqrt(3.0) * residual.std() / 4.0
    np.testing.assert_allclose(found.standard_errors, [[0.0, expected]])


def test_losses_are_kept_in_a_file(tmp_path: pathlib.Path) -> None:
    losses = np.arange(12.0).reshape(2, 3, 2)
    steps, lengths = np.array([100, 141, 200]), np.array([3, 4])
    found = Stopping(("a", "b"), steps, losses, lengths, 0.5, ("c",))
    found.save(tmp_path / "losses.npz")
    again = Stopping.load(tmp_path / "losses.npz")
    assert str(again) == str(found)
    assert again.losses.dtype == np.float64
    (tmp_path / "other.npz").write_bytes(b"no losses")
    with pytest.raises(ValueError, match=r"other\.npz holds no held-out losses"):
        Stopping.load(tmp_path / "other.npz")


@pytest.mark.parametrize("validation", [0.25, "buffer"])
def test_one_split(validation: Any) -> None:
    other = bandit(40, seed=3)
    given = other if validation == "buffer" else validation
    found = choose_n_steps(
        bandit(), lambda: Known(lambda x, a, s: truth(x, a)), 100, given,
        show_progress=False,
    )  # fmt: skip
    assert found.lengths.sum() == (40 if validation == "buffer" else 22)


def test_whole_episodes_are_held_out() -> None:
    seen: list[int] = []

    class Watched(Known):
        def fit(self, dataset: Any, n_steps: int, callback: Any, **others: Any) -> None:
            seen.append(dataset.transition_count)
            super().fit(dataset, n_steps, callback, **others)

    found = choose_n_steps(
        episodes(30, 4), lambda: Watched(lambda x, a, s: a * 1.0), 100,
        show_progress=False,
    )  # fmt: skip
    assert seen == [80, 80, 80]
    assert found.lengths.tolist() == [4] * 30


@pytest.mark.parametrize(
    "make",
    [
        lambda: DiscreteCQLConfig(encoder_factory=SMALL, batch_size=16).create(),
        lambda: small_iql(),
        lambda: ours(reward_scaler=StandardRewardScaler()),
        lambda: ours(outcomes=[Outcome("y")], constraint=None),
    ],
)
@pytest.mark.parametrize("log", [bandit, episodes])
def test_algorithms(make: Any, log: Any) -> None:
    dataset = log()
    if log is episodes and make().config.get_type() == "constraint_aware_q":
        y = dataset.to_arrays()["rewards"].reshape(-1)
        columns = dataset.to_arrays()
        dataset = ColumnarReplayBuffer.from_arrays(
            columns["observations"], columns["actions"], y,
            terminals=columns["terminals"], extras={"y": y}, action_size=3,
        )  # fmt: skip
    before = torch.get_rng_state(), np.random.get_state()[1].copy()  # noqa: NPY002
    found = choose_n_steps(dataset, make, 155, 0.3, show_progress=False)
    assert np.isfinite(found.losses).all()
    assert found.n_steps in (round(n / found.share) for n in found.steps)
    # Random numbers of the caller's are where they were.
    assert torch.equal(before[0], torch.get_rng_state())
    assert np.array_equal(before[1], np.random.get_state()[1])  # noqa: NPY002
    again = choose_n_steps(dataset, make, 155, 0.3, show_progress=False)
    np.testing.assert_array_equal(found.losses, again.losses)


def test_a_callback_sees_a_training() -> None:
    training, validation = bandit().split(0.7)
    watch = HeldOutCallback(validation)
    with pytest.raises(ValueError, match="100 steps"):
        watch.stopping  # noqa: B018
    cql = DiscreteCQLConfig(encoder_factory=SMALL, batch_size=16).create()
    cql.fit(training, n_steps=150, n_steps_per_epoch=150, callback=watch, **QUIET)
    assert watch.stopping.steps.tolist() == [100, 141]
    epochs = HeldOutCallback(validation, every_call=True)
    cql.fit(training, n_steps=60, n_steps_per_epoch=20, epoch_callback=epochs, **QUIET)
    assert epochs.stopping.steps.tolist() == [20, 40, 60]


# -- fit without a step count --------------------------------------------------


@pytest.mark.parametrize("outcomes", [[], [Outcome("y")]])
def test_fit_chooses_steps_and_decay(outcomes: Any) -> None:
    d3rlpy.seed(0)
    constraint = None if outcomes else Concave()
    algo = ours(outcomes=outcomes, constraint=constraint)
    algo.fit(bandit(), n_steps=155, validation=0.3, **QUIET)
    assert algo.grad_step in [round(step / 0.7) for step in looks(108)]
    assert algo.config.weight_decay is not None
    settings = ours(outcomes=outcomes, constraint=constraint).open_settings(bandit())
    assert {"weight_decay": algo.config.weight_decay} in settings.values()


@pytest.mark.parametrize(("validation", "share"), [(None, 2.0 / 3.0), (0.2, 0.8)])
def test_a_part_of_the_log_decays_more(
    monkeypatch: pytest.MonkeyPatch, validation: Any, share: float
) -> None:
    tried = []

    def choose(dataset: Any, make: Any, *others: Any, **options: Any) -> Stopping:
        tried.extend(one().config.weight_decay for one in make.values())
        losses = np.array([[[1.0]], [[0.0]], [[1.0]]])
        return Stopping(tuple(make), np.array([1]), losses, np.array([1]))

    monkeypatch.setattr("icac_algo.algos.base.choose_n_steps", choose)
    algo = ours()
    algo.fit(bandit(4000), validation=validation, **QUIET)
    assert algo.config.weight_decay == pytest.approx(1.5)
    np.testing.assert_allclose(tried, np.array([0.75, 1.5, 3.0]) * share**-0.7)


def test_what_the_config_says_is_kept() -> None:
    algo = ours(weight_decay=0.125)
    algo.fit(bandit(), n_steps=100, validation=0.3, **QUIET)
    assert algo.config.weight_decay == 0.125
    iql = small_iql()
    iql.fit(bandit(), n_steps=155, validation=0.3, **QUIET)
    assert iql.grad_step in [round(step / 0.7) for step in looks(108)]


def test_twins_are_equal_and_the_refit_sees_all_rows() -> None:
    values = []
    for _ in range(2):
        d3rlpy.seed(3)
        algo = ours()
        algo.fit(bandit(), n_steps=120, validation=0.3, **QUIET)
        values.append(algo.predict_value(np.zeros((3, 2), np.float32), np.arange(3)))
    np.testing.assert_array_equal(*values)
    d3rlpy.seed(3)
    plain = ours(weight_decay=algo.config.weight_decay)
    plain.fit(bandit(), n_steps=algo.grad_step, **QUIET)
    again = plain.predict_value(np.zeros((3, 2), np.float32), np.arange(3))
    np.testing.assert_array_equal(values[0], again)


class _Stop(Exception):
    pass


def test_an_interrupted_search_goes_on_bit_for_bit(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    x = np.zeros((3, 2), np.float32)
    expected = ours()
    d3rlpy.seed(5)
    expected.fit(bandit(), n_steps=155, validation=0.3, **QUIET)
    trained = []
    original = HeldOut.answers

    def stumbles(self: Any, algo: Any) -> Answers:
        trained.append(algo)
        if len(trained) == 10:
            raise _Stop
        return original(self, algo)

    monkeypatch.setattr(HeldOut, "answers", stumbles)
    file = tmp_path / "run.checkpoint"
    d3rlpy.seed(5)
    with pytest.raises(_Stop):
        ours().fit(bandit(), n_steps=155, validation=0.3, checkpoint=file, **QUIET)
    # Another process, which has drawn other numbers.
    d3rlpy.seed(77)
    algo = ours()
    algo.fit(bandit(), n_steps=155, validation=0.3, checkpoint=file, **QUIET)
    # Seven looks were finished with the first of three settings.
    assert len(trained) == 10 + 14
    assert algo.config.weight_decay == expected.config.weight_decay
    np.testing.assert_array_equal(
        algo.predict_value(x, np.arange(3)), expected.predict_value(x, np.arange(3))
    )


def test_a_journal_is_of_one_search(tmp_path: pathlib.Path) -> None:
    file = tmp_path / "search"
    make = lambda: Known(lambda x, a, s: truth(x, a))  # noqa: E731
    options: dict[str, Any] = {"journal": file, "show_progress": False}
    choose_n_steps(bandit(), make, 100, **options)
    with pytest.raises(ValueError, match="another search"):
        choose_n_steps(bandit(), make, 200, **options)
    file.write_bytes(b"no archive")
    with pytest.raises(ValueError, match="cannot be read"):
        choose_n_steps(bandit(), make, 100, **options)


def test_loggers_get_the_curves(tmp_path: pathlib.Path) -> None:
    algo = ours(weight_decay=0.0)
    algo.fit(
        bandit(), n_steps=155, validation=0.3, show_progress=False,
        logger_adapter=d3rlpy.logging.FileAdapterFactory(str(tmp_path)),
        experiment_name="mine", with_timestamp=False,
    )  # fmt: skip
    (curve,) = (tmp_path / "mine_stopping").glob("held_out_loss*.csv")
    steps = [line.split(",")[1] for line in curve.read_text().splitlines()]
    assert steps == [str(step) for step in looks(108)]


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"n_steps": "many"}, "n_steps"),
        ({"n_steps": 0, "validation": 0.2}, "most"),
        ({"n_steps": 100, "validation": 1.0}, "validation"),
        ({"n_steps": 100, "validation": 0.0}, "validation"),
        ({"n_steps": 100, "validation": "some"}, "validation"),
        ({"n_steps": 100, "validation": 0.001}, "hold out"),
    ],
)
def test_bad_arguments_are_named(fields: dict[str, Any], words: str) -> None:
    with pytest.raises((ValueError, TypeError), match=words):
        ours().fit(bandit(), **fields, **QUIET)


def test_a_built_algorithm_cannot_begin_anew() -> None:
    algo = ours()
    algo.fit(bandit(), n_steps=1, **QUIET)
    with pytest.raises(ValueError, match="not built yet"):
        algo.fit(bandit(), **QUIET)


def test_candidates_must_share_their_discount() -> None:
    def other() -> Known:
        known = Known(lambda x, a, s: a * 1.0)
        known.gamma = 0.9
        return known

    make = {"a": lambda: Known(lambda x, a, s: a * 1.0), "b": other}
    with pytest.raises(ValueError, match="discount"):
        choose_n_steps(episodes(), make, 100, show_progress=False)


def test_large_logs_without_outcomes_have_no_decay() -> None:
    large = ColumnarReplayBuffer.from_arrays(
        np.zeros((20_000, 1), np.float32), np.arange(20_000) % 3, np.zeros(20_000)
    )
    assert ours().open_settings(large) == {"as given": {}}
    assert len(ours().open_settings(bandit())) == 3
    assert len(ours(outcomes=[Outcome("y")], constraint=None).open_settings(large)) == 2


def test_the_prior_is_asked_of_the_whole_log_and_of_no_fold(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    asked = []
    monkeypatch.setattr(
        "icac_algo.algos.constraint_aware_q.check_prior_at_fit",
        lambda dataset, constraint, outcomes, mode: asked.append(
            (mode, dataset.transition_count)
        ),
    )
    ours(check_prior="warn").fit(bandit(), n_steps=150, validation=0.3, **QUIET)
    assert set(asked) == {("warn", 90), ("off", 63)}


def test_every_training_of_a_fold_sees_the_same_batches() -> None:
    make = DiscreteCQLConfig(encoder_factory=SMALL, batch_size=16).create
    # A stream of its own goes on where it was, unless each training begins it anew.
    log = bandit().replace(seed=1)
    found = choose_n_steps(
        log, {"a": make, "b": make}, 150, bandit(40, seed=3), show_progress=False
    )
    np.testing.assert_array_equal(found.losses[0], found.losses[1])
    assert log.random_state == bandit().replace(seed=1).random_state
