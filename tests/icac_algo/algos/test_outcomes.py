"""ConstraintAwareQ with outcomes: what it learns, composes, keeps and refuses."""

from __future__ import annotations

import json
import pathlib
import subprocess
import sys
from typing import Any

import d3rlpy
import numpy as np
import pytest
import torch
from d3rlpy.dataset import MultiStepTransitionPicker
from d3rlpy.preprocessing import (
    MinMaxActionScaler,
    StandardObservationScaler,
    StandardRewardScaler,
)

import icac_algo.export
from icac_algo import (
    BudgetRelabellingTransitionPicker,
    ColumnarReplayBuffer,
    ConstraintAwareQConfig,
    Functional,
    Outcome,
    SlopeBounds,
    Unconstrained,
)
from icac_algo.decisions import MaskedGreedy

sys.path.insert(0, str(pathlib.Path(__file__).parents[1]))
from outcome_worlds import (
    QUIET,
    actions_of,
    composed,
    config_of,
    fitted,
    log_of,
    outcomes_of,
    positions_of,
    states,
)


def scalers(size: int | None) -> dict[str, Any]:
    found: dict[str, Any] = {
        "observation_scaler": StandardObservationScaler(),
        "reward_scaler": StandardRewardScaler(),
    }
    if size is None:
        found["action_scaler"] = MinMaxActionScaler(
            minimum=np.array([0.0]), maximum=np.array([2.0])
        )
    return found


VARIANTS: dict[str, dict[str, Any]] = {
    "plain": {},
    "two critics": {"n_critics": 2},
    "shared encoder": {"n_critics": 2, "share_encoder": True},
    "actor": {"actor": "network"},
    "greedy actor": {"actor": "network", "greedy": "actor"},
    "spectral": {"critic": Functional(n_pieces=2, spectral_norm=True)},
}


def values_of(algo: Any, x: np.ndarray, size: int | None) -> np.ndarray:
    actions = actions_of(size, len(x))
    return np.concatenate(
        [
            algo.predict_value(x, actions),
            algo.predict(x).reshape(-1),
            *(algo.predict_outcome(x, actions, n) for n in ("won", "value", "units")),
        ]
    )


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("size", [5, None])
@pytest.mark.parametrize("scaled", [pytest.param(False, marks=pytest.mark.slow), True])
def test_values_are_composed_of_outcomes(
    variant: str, size: int | None, scaled: bool
) -> None:
    config = config_of(size, **VARIANTS[variant], **(scalers(size) if scaled else {}))
    algo = fitted(config, log_of(size))
    x, actions = states(40), actions_of(size, 40)
    expected = composed(algo, x, actions, size)
    if algo.reward_scaler is not None:
        expected = algo.reward_scaler.transform_numpy(expected)
    found = algo.predict_value(x, actions)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=2e-5)
    assert np.isfinite(algo.sample_action(x)).all()


@pytest.mark.parametrize("size", [2, 3, 101, 1001])
def test_any_number_of_actions(size: int) -> None:
    algo = fitted(config_of(size), log_of(size), steps=5)
    x, actions = states(7), actions_of(size, 7)
    found = algo.predict_value(x, actions)
    np.testing.assert_allclose(
        found, composed(algo, x, actions, size), rtol=1e-5, atol=2e-5
    )
    assert set(algo.predict(x)) <= set(range(size))


@pytest.mark.slow
def test_means_come_near_the_truth() -> None:
    log = log_of(rows=8000)
    algo = fitted(config_of(batch_size=256), log, steps=600)
    x, actions = states(500), actions_of(5, 500)
    bids = positions_of(5)[actions]
    truth = {
        "won": 1.0 / (1.0 + np.exp(1.0 - bids - x[:, 0])),
        "value": 1.0 + x[:, 1],
        "units": np.exp(1.0 - bids),
    }
    for name, expected in truth.items():
        error = np.abs(algo.predict_outcome(x, actions, name) - expected).mean()
        assert error < 0.12 * expected.mean(), name


@pytest.mark.slow
@pytest.mark.parametrize("scale", [2.0**-30, 1e-9, 1e9, 2.0**30])
@pytest.mark.parametrize("size", [5, None])
def test_units_of_outcomes_do_not_matter(scale: float, size: int | None) -> None:
    x, actions = states(200), actions_of(size, 200)
    plain = fitted(config_of(size), log_of(size, rows=2000), steps=150)
    other = fitted(
        config_of(size, scale), log_of(size, rows=2000, scale=scale), steps=150
    )
    for name, unit in (("won", 1.0), ("value", scale), ("units", scale)):
        expected = plain.predict_outcome(x, actions, name)
        found = other.predict_outcome(x, actions, name) / unit
        # A Poisson likelihood in other units weighs the same errors.
        np.testing.assert_allclose(found, expected, rtol=0.15, atol=0.05)


@pytest.mark.parametrize("scale", [2.0**-30, 2.0**30])
def test_what_an_outcome_counts_does_not_depend_on_its_unit(scale: float) -> None:
    shares = []
    for unit in (1.0, scale):
        algo = config_of(5, unit).create(device="cpu:0")
        algo.build_with_dataset(log_of(5, scale=unit))
        critic = algo.impl.q_function[0]
        # Of a Poisson likelihood its mean is the information of a row.
        mean = critic.levels[2].double().exp()
        shares.append((critic.balance[2].double() * mean).item())
    assert shares[1] == pytest.approx(shares[0], rel=1e-4)


@pytest.mark.parametrize("size", [5, None])
def test_a_known_part_may_be_given(size: int | None) -> None:
    """``-action`` where won is the same as a weight of won itself."""
    outcomes = outcomes_of()
    apart = [Outcome("won", outcomes[0].shape, link="logit", weight=0.0), *outcomes[1:]]
    apart.append(Outcome(weight="-action", given="won"))
    x, actions = states(20), actions_of(size, 20)
    algo = fitted(config_of(size, outcomes=apart), log_of(size), 5)
    np.testing.assert_allclose(
        algo.predict_value(x, actions),
        composed(algo, x, actions, size),
        rtol=1e-5,
        atol=2e-5,
    )
    other = fitted(config_of(size), log_of(size), 5)
    np.testing.assert_allclose(
        algo.predict_outcome(x, actions, "won"),
        other.predict_outcome(x, actions, "won"),
        rtol=1e-4,
    )


@pytest.mark.parametrize("size", [5, None])
def test_what_does_not_depend_does_not(size: int | None) -> None:
    algo = fitted(config_of(size), log_of(size))
    x, actions = states(30), actions_of(size, 30)
    moved = x.copy()
    moved[:, 0] += 0.5
    same = algo.predict_outcome(x, actions, "value")
    assert np.array_equal(same, algo.predict_outcome(moved, actions, "value"))
    other = actions_of(size, 30, seed=4)
    assert np.array_equal(same, algo.predict_outcome(x, other, "value"))
    assert not np.array_equal(same, algo.predict_outcome(states(30, 1), actions, "value"))


def test_without_later_steps_gamma_means_nothing() -> None:
    x = states(20)
    found = [
        values_of(fitted(config_of(gamma=gamma), log_of()), x, 5) for gamma in (0.0, 0.99)
    ]
    assert np.array_equal(*found)


def test_without_discount_nothing_follows() -> None:
    algo = fitted(config_of(), log_of(campaigns=6))
    x, actions = states(20), actions_of(5, 20)
    expected = composed(algo, x, actions, 5)
    np.testing.assert_allclose(algo.predict_value(x, actions), expected, rtol=1e-5)


@pytest.mark.parametrize("size", [5, None])
@pytest.mark.parametrize("n_steps", [1, 3])
@pytest.mark.parametrize("n_critics", [1, 2])
def test_what_follows_is_learned_where_episodes_go_on(
    size: int | None, n_steps: int, n_critics: int
) -> None:
    picker = MultiStepTransitionPicker(n_steps, 0.9) if n_steps > 1 else None
    log = log_of(size, campaigns=6, transition_picker=picker)
    algo = fitted(config_of(size, gamma=0.9, n_critics=n_critics), log)
    x, actions = states(20), actions_of(size, 20)
    later = algo.predict_value(x, actions) - composed(algo, x, actions, size)
    assert np.isfinite(later).all()
    assert np.abs(later).max() > 0.1


def test_what_follows_is_read_where_actions_lie() -> None:
    """Not at their numbers: its slopes would be tenths of what they may be."""
    positions = [0.0, 10.0, 40.0]
    rows = 90
    rng = np.random.default_rng(0)
    click = (rng.random(rows) < 0.5).astype(float)
    log = ColumnarReplayBuffer.from_arrays(
        rng.random((rows, 2)).astype(np.float32),
        np.arange(rows) % 3,
        click,
        terminals=np.arange(rows) % 10 == 9,
        extras={"click": click},
    )
    config = ConstraintAwareQConfig(
        outcomes=[Outcome("click", link="logit")],
        constraint=SlopeBounds(0.9, 1.1, actions=positions),
        gamma=0.5,
    )
    algo = config.create(device="cpu:0")
    algo.build_with_dataset(log)
    (critic,) = algo.impl.modules.q_funcs
    x = torch.rand(8, 2)
    with torch.no_grad():
        later = critic.predictors(critic.coordinates(x), critic.every)[-1]
    slopes = later.diff(dim=1) / torch.tensor([10.0, 30.0])
    assert ((slopes > 0.89) & (slopes < 1.11)).all()


def test_features_are_measured_by_their_spread_and_flags_are_not() -> None:
    rng = np.random.default_rng(0)
    rare = (rng.random(500) < 0.01).astype(float)
    x = np.stack([rng.normal(7.0, 3.0, 500), rare, np.full(500, 4.0)], axis=1)
    click = (rng.random(500) < 0.5).astype(float)
    log = ColumnarReplayBuffer.from_arrays(
        x.astype(np.float32), np.arange(500) % 2, click, extras={"click": click}
    )
    algo = ConstraintAwareQConfig(outcomes=[Outcome("click", link="logit")]).create()
    algo.build_with_dataset(log)
    (critic,) = algo.impl.modules.q_funcs
    units = critic.standardised_features
    middle, spread = units.middle.tolist(), units.spread.tolist()
    assert middle == pytest.approx([x[:, 0].mean(), 0.0, 4.0], abs=1e-4)
    assert spread == pytest.approx([x[:, 0].std(), 1.0, 1.0], rel=1e-4)


@pytest.mark.slow
def test_a_chain_of_two_steps_is_worth_what_it_pays() -> None:
    """Every first step pays click, every second 2: Q is click + 0.5 * 2."""
    rng = np.random.default_rng(0)
    rows = 2000
    first = np.arange(rows) % 2 == 0
    actions = rng.integers(0, 3, rows)
    click = (rng.random(rows) < 0.2 + 0.2 * actions).astype(float)
    bonus = np.where(first, 0.0, 2.0)
    log = ColumnarReplayBuffer.from_arrays(
        np.stack([first, ~first], axis=1).astype(np.float32),
        actions,
        click + bonus,
        terminals=~first,
        extras={"click": click, "bonus": bonus},
        action_size=3,
    )
    config = ConstraintAwareQConfig(
        outcomes=[
            Outcome("click", "monotone", link="logit"),
            Outcome("bonus", depends_on_action=False),
        ],
        gamma=0.5,
        batch_size=128,
        tau=0.05,
    )
    algo = fitted(config, log, steps=1500)
    x = np.array([[1.0, 0.0], [0.0, 1.0]], np.float32)
    best = algo.predict_value(x, np.array([2, 2]))
    # The click of the second step is worth half as well.
    assert best == pytest.approx([0.6 + 0.5 * 2.6, 2.6], abs=0.12)


# -- keeping -------------------------------------------------------------------


@pytest.mark.parametrize("size", [5, None])
def test_saved_and_loaded(size: int | None, tmp_path: pathlib.Path) -> None:
    config = config_of(size, gamma=0.9, n_critics=2, **scalers(size))
    log = log_of(size, campaigns=6, lowest=1)
    algo, x = fitted(config, log), states(30)
    expected = values_of(algo, x, size)
    algo.save(str(tmp_path / "model.d3"))
    icac_algo.export.save(algo, tmp_path / "model", dataset=log)
    algo.save_model(str(tmp_path / "weights.pt"))
    bare = config_of(size, gamma=0.9, n_critics=2, **scalers(size)).create("cpu:0")
    bare.build_with_dataset(log)
    bare.load_model(str(tmp_path / "weights.pt"))
    for loaded in (
        d3rlpy.load_learnable(str(tmp_path / "model.d3"), device="cpu:0"),
        icac_algo.export.load(tmp_path / "model", device="cpu:0"),
        bare,
    ):
        assert loaded.config.outcomes == algo.config.outcomes
        assert np.array_equal(values_of(loaded, x, size), expected)


@pytest.mark.parametrize("size", [5, None])
def test_copied(size: int | None) -> None:
    source = fitted(config_of(size, n_critics=2), log_of(size, lowest=1))
    copy = config_of(size, n_critics=2).create("cpu:0")
    copy.build_with_dataset(log_of(size, seed=7))
    copy.copy_q_function_from(source)
    x = states(30)
    assert np.array_equal(values_of(copy, x, size), values_of(source, x, size))


def test_a_config_comes_back_from_json() -> None:
    config = config_of(check_prior="warn", support="any")
    again = ConstraintAwareQConfig.deserialize(json.dumps(config.serialize_to_dict()))
    assert again == config
    assert [type(one.shape) for one in again.outcomes] == [
        type(one.shape) for one in outcomes_of()
    ]


SCRIPT = """
import sys
sys.path.insert(0, sys.argv[1])
import numpy as np

from outcome_worlds import config_of, fitted, log_of, states
algo = fitted(config_of(gamma=0.9, actor="network"), log_of(campaigns=6), steps=8)
x = states(30)
print(algo.predict_value(x, np.arange(30) % 5).tobytes().hex())
"""


def test_one_seed_gives_one_model_in_one_process_and_in_two() -> None:
    def train() -> str:
        algo = fitted(config_of(gamma=0.9, actor="network"), log_of(campaigns=6), steps=8)
        found: np.ndarray = algo.predict_value(states(30), np.arange(30) % 5)
        return found.tobytes().hex()

    folder = str(pathlib.Path(__file__).parents[1])
    said = subprocess.run(
        [sys.executable, "-c", SCRIPT, folder],
        capture_output=True,
        text=True,
        check=False,
    )
    assert said.returncode == 0, said.stderr
    assert train() == train() == said.stdout.split()[-1]


@pytest.mark.parametrize("size", [5, None])
def test_a_run_goes_on_where_it_stopped(size: int | None, tmp_path: pathlib.Path) -> None:
    fields: dict[str, Any] = {"gamma": 0.9, "actor": "network", **scalers(size)}
    log = log_of(size, campaigns=6, seed=2)
    whole = fitted(config_of(size, **fields), log, 12, n_steps_per_epoch=6)
    file = tmp_path / "run.pt"
    fitted(config_of(size, **fields), log, 6, n_steps_per_epoch=6, checkpoint=file)
    resumed = config_of(size, **fields).create(device="cpu:0")
    resumed.fit(log, n_steps=12, n_steps_per_epoch=6, checkpoint=file, **QUIET)
    mine, theirs = (a.impl.modules.get_torch_modules() for a in (whole, resumed))
    for name, module in mine.items():
        for key, value in module.state_dict().items():
            assert torch.equal(value, theirs[name].state_dict()[key]), (name, key)


def test_a_checkpoint_of_other_outcomes_is_refused(tmp_path: pathlib.Path) -> None:
    file = tmp_path / "run.pt"
    fitted(config_of(), log_of(), 2, checkpoint=file)
    other = config_of()
    other.outcomes[0] = Outcome("won", "monotone", link="logit", weight="-action")
    with pytest.raises(ValueError, match="outcomes"):
        fitted(other, log_of(), 4, checkpoint=file)


@pytest.mark.parametrize("size", [5, pytest.param(None, marks=pytest.mark.slow)])
@pytest.mark.parametrize("suffix", [".pt", ".onnx"])
def test_graphs_answer_as_the_model(
    size: int | None, suffix: str, tmp_path: pathlib.Path
) -> None:
    config = config_of(size, gamma=0.9, n_critics=2, **scalers(size))
    algo = fitted(config, log_of(size, campaigns=6, lowest=1))
    path, x = tmp_path / f"policy{suffix}", states(11)
    icac_algo.export.save_graph(algo, path)
    if suffix == ".pt":
        found = [part.numpy() for part in torch.jit.load(str(path))(torch.as_tensor(x))]
    else:
        onnxruntime = pytest.importorskip("onnxruntime")
        session = onnxruntime.InferenceSession(str(path))
        found = session.run(None, {"input_0": x})
    action, at_action, q_values = found[:3]
    expected = algo.predict(x)
    if size is None:
        assert action == pytest.approx(expected, abs=2e-4)
        own = algo.predict_value(x, action)
        np.testing.assert_allclose(q_values[:, 0], own, rtol=1e-4, atol=1e-4)
        assert at_action == pytest.approx(action[:, 0])
        return
    assert np.array_equal(action, expected)
    assert at_action == pytest.approx(positions_of(size)[expected])
    columns = [algo.predict_value(x, np.full(11, a)) for a in range(size)]
    np.testing.assert_allclose(q_values, np.stack(columns, 1), rtol=1e-5, atol=1e-5)
    assert (found[3][:, 0] == 0.0).all()  # never logged


# -- support -------------------------------------------------------------------


@pytest.mark.parametrize("fields", [{}, {"actor": "network"}, {"entropy_temperature": 0}])
def test_policies_stay_where_the_log_is(fields: dict[str, Any]) -> None:
    log = log_of(size=5, lowest=3)
    algo = fitted(config_of(5, **fields), log)
    x = states(200)
    for chosen in (algo.predict(x), algo.sample_action(x)):
        assert set(chosen) <= {3, 4}
    free = fitted(config_of(5, support="any", entropy_temperature=100.0), log)
    assert set(free.sample_action(x)) == set(range(5))


@pytest.mark.parametrize("position", [0.1, 0.7, 1.9])
def test_an_end_of_the_support_may_be_no_float32(position: float) -> None:
    log = log_of(size=3)
    alone = ColumnarReplayBuffer.from_arrays(
        log.to_arrays()["observations"],
        np.ones(300, np.int64),
        np.arange(300) % 2,
        extras={"won": np.arange(300) % 2},
        action_size=3,
    )
    config = ConstraintAwareQConfig(
        outcomes=[Outcome("won", link="logit")],
        constraint=Unconstrained(actions=[0.0, position, 2.0]),
        batch_size=32,
    )
    assert set(fitted(config, alone, 2).predict(states(9))) == {1}


@pytest.mark.parametrize("fields", [{}, {"greedy": "actor"}])
def test_continuous_policies_stay_where_the_log_is(fields: dict[str, Any]) -> None:
    algo = fitted(config_of(None, **fields), log_of(None))
    x, ends = states(200), (np.float32(0.1), np.float32(1.9))
    for chosen in (algo.predict(x), algo.sample_action(x)):
        assert (chosen >= ends[0]).all()
        assert (chosen <= ends[1]).all()


def test_masked_policies_stay_too_where_they_can() -> None:
    algo, x = fitted(config_of(), log_of(lowest=3)), states(50)
    for allowed, expected in (([1, 3], {3}), ([0, 1], {0, 1}), (range(5), {3, 4})):
        mask = np.isin(np.arange(5), list(allowed))
        policy = MaskedGreedy(algo, lambda seen, mask=mask: np.tile(mask, (len(seen), 1)))
        assert set(policy.predict(x)) <= expected


def test_targets_know_the_support_too() -> None:
    """An action that was never logged promises a bonus; nobody counts on it."""
    log = log_of(size=5, lowest=3, campaigns=6)
    algo = fitted(config_of(5, gamma=0.9), log, steps=3)
    x = torch.as_tensor(states(50))
    found = algo.impl.best_target_value(x)[:, 0]
    values = algo.impl.modules.targ_q_funcs[0](x).q_value
    assert torch.equal(found, values[:, 3:].max(dim=1).values)
    assert (values.max(dim=1).values > found).any()


def test_further_training_widens_the_support(tmp_path: pathlib.Path) -> None:
    algo = fitted(config_of(), log_of(lowest=3))
    assert algo.impl.modules.state.support.tolist() == positions_of(5)[[3, 4]].tolist()
    algo.save(str(tmp_path / "model.d3"))
    loaded = d3rlpy.load_learnable(str(tmp_path / "model.d3"), device="cpu:0")
    assert loaded.impl.modules.state.support.tolist() == positions_of(5)[[3, 4]].tolist()
    loaded.fit(log_of(lowest=1), n_steps=2, n_steps_per_epoch=2, **QUIET)
    assert loaded.impl.modules.state.support.tolist() == positions_of(5)[[1, 4]].tolist()
    loaded.fit(log_of(lowest=4), n_steps=2, n_steps_per_epoch=2, **QUIET)
    assert loaded.impl.modules.state.support.tolist() == positions_of(5)[[1, 4]].tolist()


def test_a_copied_critic_brings_its_support() -> None:
    source = fitted(config_of(), log_of(lowest=3))
    copy = fitted(config_of(), log_of(), 1)
    copy.copy_q_function_from(source)
    assert set(copy.predict(states(100))) <= {3, 4}


# -- refused at the door ------------------------------------------------------


def broken(**changes: Any) -> ColumnarReplayBuffer:
    """A log in which the row 7 of a column is something else."""
    arrays = log_of().to_arrays()
    for name, value in changes.items():
        where = arrays if name in arrays else arrays["extras"]
        where[name] = where[name].copy()
        where[name].reshape(-1)[7] = value
    return ColumnarReplayBuffer.from_arrays(**arrays, action_size=5)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"won": 0.5}, r"outcome 'won' \(link='logit'\) must be 0 or 1, row 7 has 0.5"),
        ({"won": -1.0}, "must be 0 or 1, row 7 has -1"),
        (
            {"units": -1.0},
            r"'units' \(link='log'\) must be at least 0 and finite, row 7 has -1",
        ),
        ({"units": 1e300}, r"'units' .* must be at least 0 and finite, row 7 has 1e.300"),
        ({"rewards": 50.0}, "rewards must be what outcomes add up to.*row 7 has the"),
        ({"units": 50.0}, "rewards must be what outcomes add up to.*row 7 has the"),
    ],
)
def test_rows_that_cannot_be(changes: dict[str, float], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        fitted(config_of(), broken(**changes), 1)


@pytest.mark.parametrize("value", [1.5, -0.2])
def test_a_share_is_from_0_to_1(value: float) -> None:
    share = np.linspace(0.0, 1.0, 100)
    config = config_of(outcomes=[Outcome("share", link="logit")])
    log = {"observations": np.zeros((100, 2)), "actions": np.arange(100) % 5}
    fitted(
        config,
        ColumnarReplayBuffer.from_arrays(**log, rewards=share, extras={"share": share}),
        1,
    )
    share[3] = value
    with pytest.raises(ValueError, match=r"'share' .* must be from 0 to 1, row 3"):
        fitted(
            config,
            ColumnarReplayBuffer.from_arrays(
                **log, rewards=share, extras={"share": share}
            ),
            1,
        )


def test_infos_that_are_not_numbers_are_found() -> None:
    click = np.zeros(50)
    click[4] = np.nan
    log = ColumnarReplayBuffer.from_arrays(
        np.zeros((50, 2)), np.arange(50) % 5, np.zeros(50), extras={"info/click": click}
    )
    config = config_of(outcomes=[Outcome("click", link="logit")])
    with pytest.raises(ValueError, match=r"'click'.* row 4 has nan"):
        fitted(config, log, 1)


@pytest.mark.parametrize(
    ("outcomes", "message"),
    [
        ([Outcome("lost")], "the column 'lost', the log has .*'units', 'value', 'wide'"),
        ([Outcome("wide")], "'wide' must have one number a row, .* shape .2,"),
        ([Outcome("won", weight="x3")], "weight of outcome 'won' must name features bel"),
        ([Outcome("won", ignores=[3])], "ignores of outcome 'won' must name features be"),
    ],
)
def test_columns_and_features_that_are_not_there(
    outcomes: list[Outcome], message: str
) -> None:
    arrays = log_of().to_arrays()
    arrays["extras"]["wide"] = np.zeros((300, 2))
    log = ColumnarReplayBuffer.from_arrays(**arrays, action_size=5)
    with pytest.raises(ValueError, match=message):
        fitted(config_of(outcomes=outcomes), log, 1)


@pytest.mark.parametrize("kind", ["pixel", "tuple"])
@pytest.mark.parametrize("fields", [{"weight": "x0"}, {"ignores": [0]}])
def test_only_vectors_have_features(kind: str, fields: dict[str, Any]) -> None:
    pixels: Any = np.zeros((20, 1, 8, 8), np.uint8)
    seen = pixels if kind == "pixel" else [np.zeros((20, 2)), np.zeros((20, 1))]
    log = ColumnarReplayBuffer.from_arrays(
        seen, np.arange(20) % 5, np.zeros(20), extras={"won": np.zeros(20)}
    )
    config = config_of(outcomes=[Outcome("won", link="logit", **fields)])
    with pytest.raises(ValueError, match="names features of vector observations"):
        config.create().build_with_dataset(log)


def test_stock_buffers_and_environments_are_refused() -> None:
    log = log_of()
    with pytest.raises(
        ValueError, match=r"outcomes need a ColumnarReplayBuffer.*got Rep"
    ):
        fitted(config_of(), log.to_replay_buffer(), 1)
    with pytest.raises(ValueError, match="fit_online"):
        config_of().create().fit_online(None)


def test_batches_without_columns_are_refused() -> None:
    log = log_of()
    algo = fitted(config_of(), log, 1)
    with pytest.raises(ValueError, match="batches of a ColumnarReplayBuffer"):
        algo.update(log.to_replay_buffer().sample_transition_batch(8))
    assert algo.update(log.sample_transition_batch(8))["critic_loss"] > 0.0


class _OwnPicker(d3rlpy.dataset.BasicTransitionPicker):
    pass


def test_pickers_that_make_transitions_of_their_own_are_refused() -> None:
    with pytest.raises(ValueError, match=r"transition_picker .* got _OwnPicker"):
        fitted(config_of(), log_of(transition_picker=_OwnPicker()), 1)


def test_budgets_are_relabelled_unless_a_weight_reads_them() -> None:
    def log(feature: int) -> ColumnarReplayBuffer:
        picker = BudgetRelabellingTransitionPicker(budget_feature=feature)
        return log_of(campaigns=6, transition_picker=picker)

    fitted(config_of(gamma=0.9), log(1), 2)
    with pytest.raises(
        ValueError, match=r"weight must not read feature 2.*'action - x2'"
    ):
        fitted(config_of(gamma=0.9), log(2), 1)


def test_open_episodes_and_appended_ones() -> None:
    log = log_of(campaigns=6)
    episode = log.episodes[0]
    log.append_episode(episode)
    fitted(config_of(), log, 1)
    plain = d3rlpy.dataset.Episode(
        episode.observations, episode.actions, episode.rewards, episode.terminated
    )
    log.append_episode(plain)
    with pytest.raises(ValueError, match=r"outcome 'won' .* has nan"):
        fitted(config_of(), log, 1)
    log = log_of(campaigns=6)
    for _ in range(3):
        log.append(np.zeros(3, np.float32), 1, 0.0)
    with pytest.raises(ValueError, match="without an open episode"):
        fitted(config_of(), log, 1)


def test_an_extra_called_reward_is_not_the_reward() -> None:
    arrays = log_of(campaigns=6).to_arrays()
    arrays["extras"]["reward"] = np.full(300, 1e6)
    log = ColumnarReplayBuffer.from_arrays(**arrays, action_size=5)
    x = states(20)
    expected = values_of(fitted(config_of(gamma=0.9), log_of(campaigns=6)), x, 5)
    assert np.array_equal(values_of(fitted(config_of(gamma=0.9), log), x, 5), expected)


def test_any_column_name_can_be_logged(working_folder: pathlib.Path) -> None:
    arrays = log_of().to_arrays()
    won = arrays["extras"]["won"]
    for name in ("info/won", "critic", "a b"):
        log = ColumnarReplayBuffer.from_arrays(
            arrays["observations"], arrays["actions"], won, extras={name: won}
        )
        config = config_of(outcomes=[Outcome(name, link="logit")])
        algo = config.create(device="cpu:0")
        ((_, metrics),) = algo.fit(
            log, n_steps=2, n_steps_per_epoch=2, show_progress=False
        )
        assert metrics["critic_loss"] > 0.0


@pytest.mark.parametrize(
    ("column", "action", "message"),
    [
        (
            "lost",
            [0, 1],
            r"column must be one of \['won', 'value', 'units'\], got 'lost'",
        ),
        ("won", [0], "action must have one for each of 2 observations"),
    ],
)
def test_predict_outcome_refuses(column: str, action: list[int], message: str) -> None:
    algo = fitted(config_of(), log_of(), 1)
    with pytest.raises(ValueError, match=message):
        algo.predict_outcome(states(2), np.array(action), column)
    with pytest.raises(ValueError, match="must be built"):
        config_of().create().predict_outcome(states(1), np.zeros(1), "won")
