"""What every algorithm must do to be a d3rlpy algorithm."""

from __future__ import annotations

import pathlib
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import d3rlpy
import gymnasium as gym
import numpy as np
import pytest
import torch
from d3rlpy.algos import ConstantEpsilonGreedy
from d3rlpy.dataset import create_fifo_replay_buffer
from d3rlpy.preprocessing import MinMaxObservationScaler, StandardRewardScaler

import bidclick_gym  # noqa: F401  (registers the environments)

Factory = Callable[..., Any]


def values_of(algo: Any, x: Any, n_actions: int) -> np.ndarray:
    count = len(x[0]) if isinstance(x, list) else len(x)
    columns = [algo.predict_value(x, np.full((count, 1), a)) for a in range(n_actions)]
    return np.stack(columns, axis=1)


def is_ours(name: str) -> bool:
    return not name.startswith("shaped-")


@pytest.mark.covering(1)
@pytest.mark.parametrize("kind", ["vector", "pixel", "tuple"])
def test_predicts_for_every_observation_kind(
    name: str,
    kind: str,
    trained: Factory,
    batch_of: Factory,
    needs_vectors: set[str],
    n_actions: int,
) -> None:
    if kind != "vector" and name in needs_vectors:
        with pytest.raises(ValueError, match="known_cost needs vector observations"):
            trained(name, kind)
        return
    algo, x = trained(name, kind), batch_of(kind, 9)
    actions, sampled = algo.predict(x), algo.sample_action(x)
    assert actions.shape == sampled.shape == (9,)
    assert set(actions) | set(sampled) <= set(range(n_actions))
    values = values_of(algo, x, n_actions)
    assert values.dtype == np.float32
    assert np.isfinite(values).all()


def test_fit_reports_finite_metrics_and_fitter_yields_epochs(
    name: str, make_config: Factory, make_dataset: Factory
) -> None:
    d3rlpy.seed(0)
    algo = make_config(name).create(device="cpu:0")
    epochs = algo.fitter(
        make_dataset(),
        n_steps=8,
        n_steps_per_epoch=4,
        show_progress=False,
        logger_adapter=d3rlpy.logging.NoopAdapterFactory(),
    )
    seen = list(epochs)
    assert [epoch for epoch, _ in seen] == [1, 2]
    for _, metrics in seen:
        assert np.isfinite(list(metrics.values())).all()
    assert algo.grad_step == 8


def test_every_trained_parameter_moves(
    name: str, make_config: Factory, make_dataset: Factory
) -> None:
    d3rlpy.seed(0)
    dataset = make_dataset()
    algo = make_config(name).create(device="cpu:0")
    algo.build_with_dataset(dataset)
    modules = algo.impl.modules.get_torch_modules()
    before = {
        f"{m}.{p}": value.detach().clone()
        for m, module in modules.items()
        for p, value in module.named_parameters()
    }
    for _ in range(25):
        algo.update(dataset.sample_transition_batch(32))
    for m, module in modules.items():
        for p, value in module.named_parameters():
            waits = m == "targ_q_funcs" and not is_ours(name)
            assert waits or not torch.equal(value, before[f"{m}.{p}"]), f"{m}.{p}"


def test_update_returns_floats(
    name: str, make_config: Factory, make_dataset: Factory
) -> None:
    dataset = make_dataset()
    algo = make_config(name).create(device="cpu:0")
    algo.build_with_dataset(dataset)
    losses = algo.update(dataset.sample_transition_batch(32))
    assert losses
    assert all(isinstance(value, float) for value in losses.values())


def test_same_seed_same_result(
    name: str,
    fit_quietly: Factory,
    make_config: Factory,
    make_dataset: Factory,
    batch_of: Factory,
    n_actions: int,
) -> None:
    x = batch_of("vector", 20)
    first, second = (
        fit_quietly(make_config(name), make_dataset(), steps=10) for _ in range(2)
    )
    assert np.array_equal(values_of(first, x, n_actions), values_of(second, x, n_actions))


def test_fit_online(name: str, make_config: Factory) -> None:
    env = gym.make("BidClick-v0", horizon=5)
    env.reset(seed=0)
    algo = make_config(name).create(device="cpu:0")
    algo.fit_online(
        env,
        create_fifo_replay_buffer(500, env=env),
        ConstantEpsilonGreedy(0.5),
        n_steps=60,
        n_steps_per_epoch=30,
        update_start_step=20,
        show_progress=False,
        logger_adapter=d3rlpy.logging.NoopAdapterFactory(),
    )
    assert algo.predict(env.observation_space.sample()[None]).shape == (1,)


def test_build_with_env(name: str, make_config: Factory) -> None:
    algo = make_config(name).create(device="cpu:0")
    algo.build_with_env(gym.make("BidClick-v0"))
    assert algo.observation_shape == (2,)
    assert algo.action_size == 5


def test_scalers_change_no_interface(
    name: str,
    fit_quietly: Factory,
    make_config: Factory,
    make_dataset: Factory,
    batch_of: Factory,
    n_actions: int,
) -> None:
    config = make_config(name)
    config.observation_scaler = MinMaxObservationScaler()
    config.reward_scaler = StandardRewardScaler()
    algo = fit_quietly(config, make_dataset())
    assert np.isfinite(values_of(algo, batch_of("vector", 5), n_actions)).all()


def test_copies_q_function_policy_and_optimizers(
    name: str,
    trained: Factory,
    make_config: Factory,
    make_dataset: Factory,
    batch_of: Factory,
    n_actions: int,
) -> None:
    source = trained(name)
    copy = make_config(name).create(device="cpu:0")
    copy.build_with_dataset(make_dataset(seed=5, reward_size=3.0))
    copy.copy_q_function_from(source)
    copy.copy_q_function_optim_from(source)
    x = batch_of("vector", 20)
    assert np.array_equal(values_of(copy, x, n_actions), values_of(source, x, n_actions))
    if is_ours(name):
        copy.copy_policy_from(source)
        copy.copy_policy_optim_from(source)
        state = torch.as_tensor(x)
        for algo in (copy, source):
            algo.impl.modules.set_eval()
        chances = [a.impl.probabilities(state) for a in (copy, source)]
        assert torch.equal(*chances)


def test_from_json(
    name: str,
    fit_quietly: Factory,
    make_config: Factory,
    make_dataset: Factory,
    working_folder: pathlib.Path,
) -> None:
    logs = d3rlpy.logging.FileAdapterFactory(root_dir=str(working_folder))
    algo = fit_quietly(
        make_config(name),
        make_dataset(),
        steps=2,
        logger_adapter=logs,
        experiment_name="run",
        with_timestamp=False,
    )
    again = type(algo).from_json(str(working_folder / "run" / "params.json"))
    assert type(again) is type(algo)
    assert again.config == algo.config
    assert tuple(again.observation_shape) == (3,)


def test_saved_models_load_in_a_fresh_process(
    trained: Factory,
    make_config: Factory,
    batch_of: Factory,
    n_actions: int,
    working_folder: pathlib.Path,
) -> None:
    """A new process that imports only icac_algo predicts the same values."""
    names = [
        "functional-cost",
        "canonical",
        "euclidean",
        "spectral-norm",
        "ensemble",
        "discrete-iql",
        "shaped-dqn",
    ]
    x = batch_of("vector", 20)
    np.save("x.npy", x)
    for name in names:
        trained(name).save(f"{name}.d3")
        np.save(f"{name}.npy", values_of(trained(name), x, n_actions))
    script = (
        "import sys, icac_algo, d3rlpy, numpy as np\n"
        "x = np.load('x.npy')\n"
        "for name in sys.argv[1:]:\n"
        "    algo = d3rlpy.load_learnable(name + '.d3', device='cpu:0')\n"
        "    q = [algo.predict_value(x, np.full((20, 1), a))"
        f"         for a in range({n_actions})]\n"
        "    assert np.array_equal(np.stack(q, 1), np.load(name + '.npy')), name\n"
    )
    result = subprocess.run(
        [sys.executable, "-c", script, *names],
        cwd=working_folder,
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 0, result.stderr
    assert "unmaintained" not in result.stderr


def test_an_interrupted_save_leaves_the_old_file(
    trained: Factory, working_folder: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    algo = trained("functional")
    path = working_folder / "model.d3"
    path.write_bytes(b"what was there")

    def fail(*_: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(algo.impl, "save_model", fail)
    with pytest.raises(KeyboardInterrupt):
        algo.save(str(path))
    assert path.read_bytes() == b"what was there"
    assert [p.name for p in working_folder.iterdir()] == ["model.d3"]
