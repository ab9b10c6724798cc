"""Training that is interrupted and goes on is the training that was not."""

from __future__ import annotations

import json
import pathlib
import random
import subprocess
import sys
from typing import Any

import d3rlpy
import numpy as np
import pytest
import torch
from d3rlpy.models import VectorEncoderFactory
from d3rlpy.optimizers import AdamFactory
from d3rlpy.optimizers.lr_schedulers import CosineAnnealingLRFactory
from d3rlpy.preprocessing import StandardObservationScaler, StandardRewardScaler

from icac_algo import (
    ColumnarReplayBuffer,
    Concave,
    ConstraintAwareQConfig,
    DiscreteIQLConfig,
    Euclidean,
    Monotone,
)
from icac_algo.algos import load_checkpoint, save_checkpoint
from icac_algo.export import ArtefactError
from tests.icac_algo.export.forging import forge, with_description, with_tensors

SMALL = VectorEncoderFactory([16])


def dataset(seed: int | None = None, rows: int = 400) -> ColumnarReplayBuffer:
    rng = np.random.default_rng(0)
    return ColumnarReplayBuffer.from_arrays(
        rng.random((rows, 2)).astype(np.float32),
        rng.integers(0, 5, rows),
        rng.normal(size=rows),
        terminals=np.arange(rows) % 7 == 6,
        seed=seed,
    )


def ours(**fields: Any) -> ConstraintAwareQConfig:
    return ConstraintAwareQConfig(
        critic_encoder_factory=SMALL,
        actor_encoder_factory=SMALL,
        **{"batch_size": 32, "constraint": Concave(), **fields},
    )


def with_scheduler() -> ConstraintAwareQConfig:
    schedule = CosineAnnealingLRFactory(T_max=60)
    return ours(
        critic_optim_factory=AdamFactory(lr_scheduler_factory=schedule),
        observation_scaler=StandardObservationScaler(),
        reward_scaler=StandardRewardScaler(),
        actor="network-sampled",
    )


CONFIGS = {
    "functional": ours,
    "network": lambda: ours(actor="network"),
    "scheduler and scalers": with_scheduler,
    "euclidean": lambda: ours(
        constraint=Monotone(), critic=Euclidean(spectral_norm=True), n_critics=2
    ),
    "iql": lambda: DiscreteIQLConfig(
        batch_size=32,
        actor_encoder_factory=SMALL,
        critic_encoder_factory=SMALL,
        value_encoder_factory=SMALL,
    ),
}


class Stop(Exception):
    """An interruption."""


def fit(algo: Any, data: Any, steps: int, **options: Any) -> Any:
    options.setdefault("logger_adapter", d3rlpy.logging.NoopAdapterFactory())
    options.setdefault("n_steps_per_epoch", 20)
    return algo.fit(data, n_steps=steps, show_progress=False, **options)


def everything(algo: Any) -> dict[str, Any]:
    modules = algo.impl.modules.create_checkpointer("cpu:0").modules
    return {name: module.state_dict() for name, module in modules.items()}


def assert_same(a: Any, b: Any, path: str = "") -> None:
    if isinstance(a, dict):
        assert a.keys() == b.keys(), path
        for key in a:
            assert_same(a[key], b[key], f"{path}.{key}")
    elif isinstance(a, (list, tuple)):
        for x, y in zip(a, b, strict=True):
            assert_same(x, y, path)
    elif isinstance(a, torch.Tensor):
        assert torch.equal(a, b), path
    else:
        assert a == b, path


def draws(data: ColumnarReplayBuffer) -> list[Any]:
    return [
        random.random(),
        np.random.random(),  # noqa: NPY002
        torch.rand(2).tolist(),
        data.sample_transition_batch(4).rewards.tolist(),
    ]


@pytest.mark.parametrize("name", CONFIGS)
@pytest.mark.parametrize("seed", [None, 5])
def test_resumed_is_bit_for_bit_uninterrupted(
    name: str, seed: int | None, tmp_path: pathlib.Path
) -> None:
    """Interrupted in the middle of the third epoch; 50 steps in epochs of 20."""
    data = dataset(seed)
    d3rlpy.seed(1)
    whole = CONFIGS[name]().create()
    expected = fit(whole, data, 50)
    assert [epoch for epoch, _ in expected] == [1, 2, 3]
    expected_draws = draws(data)

    def interrupt(_: Any, __: int, step: int) -> None:
        if step == 43:
            raise Stop

    file = tmp_path / "run" / "checkpoint.pt"
    data = dataset(seed)
    d3rlpy.seed(1)
    with pytest.raises(Stop):
        fit(CONFIGS[name]().create(), data, 50, checkpoint=file, callback=interrupt)
    d3rlpy.seed(99)
    data = dataset(seed)
    resumed = CONFIGS[name]().create()
    results = fit(resumed, data, 50, checkpoint=file)
    assert [epoch for epoch, _ in results] == [3]
    losses = {k: v for k, v in expected[2][1].items() if not k.startswith("time")}
    assert losses == {k: results[0][1][k] for k in losses}
    assert resumed.grad_step == whole.grad_step == 50
    assert_same(everything(whole), everything(resumed))
    assert draws(data) == expected_draws


def test_a_finished_run_is_not_trained_again(tmp_path: pathlib.Path) -> None:
    file = tmp_path / "checkpoint.pt"
    first = ours().create()
    fit(first, dataset(), 40, checkpoint=file)
    second = ours().create()
    assert fit(second, dataset(), 40, checkpoint=file) == []
    assert_same(everything(first), everything(second))
    # And a longer run of it goes on.
    assert [epoch for epoch, _ in fit(second, dataset(), 60, checkpoint=file)] == [3]


def test_steps_may_be_numpys(tmp_path: pathlib.Path) -> None:
    algo = ours().create()
    steps: Any = np.int64(20)
    fit(algo, dataset(), steps, checkpoint=tmp_path / "c", n_steps_per_epoch=steps)
    assert load_checkpoint(tmp_path / "c").grad_step == 20


def test_epochs_of_another_length_go_on_at_the_same_step(tmp_path: pathlib.Path) -> None:
    file = tmp_path / "checkpoint.pt"
    algo = ours().create()
    fit(algo, dataset(), 40, checkpoint=file)
    results = fit(algo, dataset(), 75, checkpoint=file, n_steps_per_epoch=15)
    assert [epoch for epoch, _ in results] == [3, 4, 5]
    assert algo.grad_step == 75
    assert fit(algo, dataset(), 50, checkpoint=file) == []


@pytest.mark.slow
def test_a_checkpoint_opens_in_a_fresh_process_and_runs_no_code(
    tmp_path: pathlib.Path,
) -> None:
    algo = with_scheduler().create()
    fit(algo, dataset(), 20)
    save_checkpoint(algo, tmp_path / "checkpoint.pt")
    observations = np.random.default_rng(1).random((50, 2)).astype(np.float32)
    np.save(tmp_path / "x.npy", observations)
    script = (
        "import json, sys, numpy as np, torch, icac_algo\n"
        "import pickle\n"
        "def refuse(*arguments, **named): raise AssertionError('unpickled')\n"
        "pickle.load = pickle.loads = torch.load = refuse\n"
        f"algo = icac_algo.algos.load_checkpoint({str(tmp_path / 'checkpoint.pt')!r})\n"
        f"x = np.load({str(tmp_path / 'x.npy')!r})\n"
        "print(json.dumps([algo.predict(x).tolist(), algo.grad_step]))\n"
    )
    result = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    assert json.loads(result.stdout) == [algo.predict(observations).tolist(), 20]


def test_a_failed_write_keeps_the_old_checkpoint(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "checkpoint.pt"
    algo = ours().create()
    fit(algo, dataset(), 20, checkpoint=file)
    before = file.read_bytes()

    def fail(*_: Any) -> None:
        raise OSError("disk full")

    monkeypatch.setattr(pathlib.Path, "write_bytes", fail)
    with pytest.raises(OSError, match="disk full"):
        save_checkpoint(algo, file)
    assert file.read_bytes() == before
    assert list(tmp_path.iterdir()) == [file]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"gamma": 0.5}, r"was trained with gamma=0\.99, got 0\.5"),
        ({"constraint": Monotone()}, r"was trained with constraint\.type='concave'"),
        ({"batch_size": 16}, r"batch_size=32, got 16"),
    ],
)
def test_another_config_is_refused_by_field(
    change: dict[str, Any], message: str, tmp_path: pathlib.Path
) -> None:
    file = tmp_path / "checkpoint.pt"
    fit(ours().create(), dataset(), 20, checkpoint=file)
    with pytest.raises(ValueError, match=message):
        fit(ours(**change).create(), dataset(), 40, checkpoint=file)


def stock(data: ColumnarReplayBuffer) -> Any:
    """The same log as d3rlpy keeps it."""
    return d3rlpy.dataset.create_infinite_replay_buffer(list(data.episodes))


@pytest.mark.parametrize("kept", [lambda data: data, stock])
def test_other_data_are_refused(kept: Any, tmp_path: pathlib.Path) -> None:
    file = tmp_path / "checkpoint.pt"
    whole = dataset()
    fit(ours().create(), kept(whole), 20, checkpoint=file)
    rows = whole.to_arrays()
    columns = [np.asarray(rows[name]) for name in ("observations", "actions", "rewards")]
    for number in range(3):
        other = [column.copy() for column in columns]
        # One number of one row.
        other[number][7] = 1 if number == 1 else 0.125
        changed = ColumnarReplayBuffer.from_arrays(
            *other, terminals=rows["terminals"], action_size=5
        )
        with pytest.raises(ValueError, match=r"checkpoint\.pt was trained on other data"):
            fit(ours().create(), kept(changed), 40, checkpoint=file)
    with pytest.raises(ValueError, match="load_checkpoint"):
        fit(ours().create(), kept(dataset(rows=350)), 40, checkpoint=file)
    assert len(fit(ours().create(), kept(dataset()), 40, checkpoint=file)) == 1
    # Deliberately: the same algorithm, trained further on something else.
    algo = load_checkpoint(file)
    assert len(fit(algo, kept(dataset(rows=350)), 20)) == 1
    assert algo.grad_step == 60


def test_a_log_that_has_grown_is_refused(tmp_path: pathlib.Path) -> None:
    file = tmp_path / "checkpoint.pt"
    data = dataset()
    fit(ours().create(), data, 20, checkpoint=file)
    for episode in list(dataset(rows=14).episodes):
        data.append_episode(episode)
    with pytest.raises(ValueError, match=r"trained on other data.*load_checkpoint"):
        fit(ours().create(), data, 40, checkpoint=file)


def test_what_is_no_checkpoint_is_refused(tmp_path: pathlib.Path) -> None:
    file = tmp_path / "checkpoint.pt"
    with pytest.raises(FileNotFoundError, match="no saved checkpoint"):
        load_checkpoint(file)
    file.write_text("hello")
    for use in (
        lambda: load_checkpoint(file),
        lambda: fit(ours().create(), dataset(), 20, checkpoint=file),
    ):
        with pytest.raises(ValueError, match=r"checkpoint\.pt is not a safetensors"):
            use()
    with pytest.raises(ValueError, match="checkpoint must be a file"):
        fit(ours().create(), dataset(), 20, checkpoint=tmp_path)


def params(description: Any) -> Any:
    return description["config"]["config"]["params"]


def group(description: Any) -> Any:
    return description["optimizers"]["critic_optim"]["optim"]["param_groups"][0]


EDITS: dict[str, tuple[Any, str]] = {
    "progress": (lambda d: d["progress"].update(step=-1), "progress must be counts"),
    "optimizer": (lambda d: d["optimizers"].clear(), "optimizers must be"),
    "a rate": (lambda d: group(d).update(lr="fast"), "groups like"),
    "a setting": (lambda d: group(d).pop("betas"), "groups like"),
    "parameters": (lambda d: group(d).update(params=[0]), "groups like"),
    "processes": (lambda d: d["processes"].clear(), "written by 0 processes"),
    "random": (lambda d: d["processes"][0].update(numpy={}), "does not fit"),
    "python": (lambda d: d["processes"][0]["python"].pop(), "does not fit"),
    "torch": (lambda d: d["processes"][0].update(torch=3), "does not fit"),
    "a model": (lambda d: d.update(kind="model"), "must be a checkpoint"),
    "missing": (lambda d: d.pop("processes"), "unknown or missing"),
}


@pytest.mark.parametrize("name", EDITS)
def test_edits_are_refused_with_the_right_checksum(
    name: str, tmp_path: pathlib.Path
) -> None:
    change, message = EDITS[name]
    file = tmp_path / "checkpoint.pt"
    fit(ours().create(), dataset(), 20, checkpoint=file)
    forge(file, with_description, change)
    with pytest.raises(ValueError, match=message) as caught:
        fit(ours().create(), dataset(), 40, checkpoint=file)
    assert str(file) in str(caught.value)


def test_tensors_of_another_kind_are_refused(tmp_path: pathlib.Path) -> None:
    file = tmp_path / "checkpoint.pt"
    fit(ours().create(), dataset(), 20, checkpoint=file)
    whole = file.read_bytes()
    moment = "state/optimizers/critic_optim/optim/state/0/exp_avg"
    for change, message in (
        (lambda t: t.update({moment: torch.zeros(3)}), "exp_avg of shape"),
        (lambda t: t[moment].fill_(float("nan")), "finite numbers in state/optimizers"),
        (lambda t: t.pop(moment), "does not fit"),
        (lambda t: t.pop("q_funcs.0.level"), "other tensors"),
    ):
        file.write_bytes(with_tensors(whole, change))
        for use in (
            lambda: load_checkpoint(file),
            lambda: fit(ours().create(), dataset(), 40, checkpoint=file),
        ):
            with pytest.raises(ArtefactError, match=message):
                use()


@pytest.mark.parametrize("count", [100, pytest.param(1000, marks=pytest.mark.slow)])
def test_a_flipped_bit_is_found(count: int, tmp_path: pathlib.Path) -> None:
    file = tmp_path / "checkpoint.pt"
    fit(with_scheduler().create(), dataset(), 20, checkpoint=file)
    whole = file.read_bytes()
    header = int.from_bytes(whole[:8], "little")
    random_bits = np.random.default_rng(0)
    for limit in (header, len(whole)):
        for bit in random_bits.integers(8 * limit, size=count // 2):
            content = bytearray(whole)
            content[bit // 8] ^= 1 << (bit % 8)
            file.write_bytes(content)
            with pytest.raises(ArtefactError):
                load_checkpoint(file)


def test_what_cannot_be_written_is_refused_before_an_epoch(
    tmp_path: pathlib.Path,
) -> None:
    algo: Any = ours().create()
    data = dataset()
    algo.build_with_dataset(data)
    algo.impl.modules.critic_optim.optim.param_groups[0]["note"] = object()
    with pytest.raises(TypeError, match="object is not JSON"):
        fit(algo, data, 20, checkpoint=tmp_path / "checkpoint.pt")
    assert algo.grad_step == 0


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"n_steps": -1}, "n_steps must be an integer >= 0, got -1"),
        ({"n_steps": 2.5}, r"n_steps must be an integer >= 0, got 2\.5"),
        ({"n_steps": 5, "n_steps_per_epoch": -1}, "n_steps_per_epoch must be an integer"),
        ({"n_steps": 5, "save_interval": 0}, "save_interval must be an integer"),
    ],
)
def test_bad_fit_arguments_are_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        ours().create().fit(dataset(), **options)


def test_the_loop_logs_calls_and_saves_as_d3rlpys(tmp_path: pathlib.Path) -> None:
    from d3rlpy.algos import DQNConfig

    seen: dict[str, Any] = {}
    for name, config in (("stock", DQNConfig(batch_size=32)), ("ours", ours())):
        calls: list[Any] = []
        algo = config.create()
        results = algo.fit(
            dataset(),
            n_steps=40,
            n_steps_per_epoch=20,
            show_progress=False,
            experiment_name=name,
            with_timestamp=False,
            logger_adapter=d3rlpy.logging.FileAdapterFactory(str(tmp_path)),
            save_interval=2,
            evaluators={"one": lambda *_: 1.0},
            callback=lambda a, e, s, calls=calls: calls.append((e, s)),
            epoch_callback=lambda a, e, s, calls=calls: calls.append((e, s, "end")),
        )
        times = {k for _, m in results for k in m if k.startswith("time") or k == "one"}
        files = {p.name for p in (tmp_path / name).iterdir() if "loss" not in p.name}
        files = {f for f in files if not f.endswith("_grad.csv")}
        seen[name] = (calls, times, [e for e, _ in results], files)
    assert seen["stock"] == seen["ours"]
