"""Saved models come back whole, and nothing that was tampered with is loaded."""

from __future__ import annotations

import json
import os
import pathlib
import pickle
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import d3rlpy
import numpy as np
import pytest
import torch
from d3rlpy.algos import DiscreteCQLConfig
from d3rlpy.preprocessing import MinMaxObservationScaler
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors import safe_open
from safetensors.torch import load_file, save_file

import bidclick_gym
from icac_algo import (
    Concave,
    ConstraintAwareQConfig,
    DiscreteIQLConfig,
    Euclidean,
    KnownCost,
    Monotone,
    ShapedQFunctionFactory,
)
from icac_algo.export import ArtefactError, describe, load, save
from tests.icac_algo.export.forging import (
    forge,
    seal,
    with_description,
    with_tensors,
    with_text,
)

CONTEXTS = np.random.default_rng(0).random((40, 2)).astype(np.float32)
CONFIGS: dict[str, Callable[[], Any]] = {
    "concave": lambda: ConstraintAwareQConfig(constraint=Concave()),
    "cost, scaler": lambda: ConstraintAwareQConfig(
        constraint=Monotone(known_cost=KnownCost(1), actions=[0.0, 0.1, 0.5, 0.9, 1.0]),
        observation_scaler=MinMaxObservationScaler(),
        n_critics=2,
    ),
    "euclidean": lambda: ConstraintAwareQConfig(
        constraint=Monotone(), critic=Euclidean()
    ),
    "discrete iql": DiscreteIQLConfig,
    "shaped cql": lambda: DiscreteCQLConfig(
        q_func_factory=ShapedQFunctionFactory(constraint=Concave())
    ),
}


@pytest.fixture(scope="module")
def dataset() -> Any:
    return bidclick_gym.get_dataset(fraction=0.01, show_progress=False)[0]


@pytest.fixture(scope="module")
def trained(dataset: Any) -> Callable[[str], Any]:
    made: dict[str, Any] = {}

    def get(name: str) -> Any:
        if name not in made:
            d3rlpy.seed(0)
            algo = CONFIGS[name]().create(device="cpu:0")
            algo.fit(
                dataset,
                n_steps=20,
                n_steps_per_epoch=20,
                show_progress=False,
                logger_adapter=d3rlpy.logging.NoopAdapterFactory(),
            )
            made[name] = algo
        return made[name]

    return get


def all_values(algo: Any) -> Any:
    actions = np.tile(np.arange(5), len(CONTEXTS))
    values = algo.predict_value(np.repeat(CONTEXTS, 5, axis=0), actions)
    return np.asarray(values).reshape(-1, 5)


@pytest.mark.parametrize("name", sorted(CONFIGS))
def test_round_trip(name: str, trained: Any, dataset: Any) -> None:
    algo = trained(name)
    file = save(algo, "model.safetensors", dataset)
    back = load(file)
    assert type(back) is type(algo)
    assert np.array_equal(all_values(back), all_values(algo))
    assert np.array_equal(back.predict(CONTEXTS), algo.predict(CONTEXTS))
    assert back.grad_step == 20
    found = describe(file)
    assert found["data"]["transitions"] == 1000
    assert len(found["action_grid"]) == 5
    assert found["versions"]["d3rlpy"] == d3rlpy.__version__
    assert os.listdir() == ["model.safetensors"]


@pytest.mark.slow
def test_round_trip_in_a_fresh_process(trained: Any) -> None:
    algo = trained("cost, scaler")
    save(algo, "model")
    np.save("contexts.npy", CONTEXTS)
    np.save("actions.npy", algo.predict(CONTEXTS))
    script = (
        "import numpy as np, pickle, torch\n"
        "import icac_algo.export\n"
        "def refuse(*arguments, **named): raise AssertionError('unpickled')\n"
        "pickle.load = pickle.loads = torch.load = refuse\n"
        "algo = icac_algo.export.load('model')\n"
        "found = algo.predict(np.load('contexts.npy'))\n"
        "assert np.array_equal(found, np.load('actions.npy'))\n"
    )
    subprocess.run([sys.executable, "-c", script], check=True)


def test_a_different_log_has_a_different_fingerprint(trained: Any, dataset: Any) -> None:
    other, _ = bidclick_gym.get_dataset(fraction=0.01, log_seed=1, show_progress=False)
    prints = [
        describe(save(trained("concave"), n, d))["data"]
        for n, d in (("a", dataset), ("b", other), ("c", dataset))
    ]
    assert prints[0] == prints[2] != prints[1]


def test_what_is_there_is_not_replaced_unasked(trained: Any) -> None:
    algo = trained("concave")
    file = save(algo, "model")
    before = file.read_bytes()
    with pytest.raises(FileExistsError, match="path must not exist yet"):
        save(trained("euclidean"), "model")
    assert file.read_bytes() == before
    save(trained("euclidean"), "model", overwrite=True)
    assert load("model").config.critic == Euclidean()
    pathlib.Path("notes.txt").write_text("mine")
    save_file({"a": torch.ones(2)}, "other.safetensors")
    pathlib.Path("folder").mkdir()
    for name in ("notes.txt", "other.safetensors", "folder"):
        with pytest.raises(FileExistsError, match="path must not exist yet"):
            save(algo, name, overwrite=True)
    assert pathlib.Path("notes.txt").read_text() == "mine"
    with pytest.raises(FileNotFoundError, match="path must be in a folder that exists"):
        save(algo, "nowhere/model")
    with pytest.raises(ValueError, match="algo must be built"):
        save(ConstraintAwareQConfig().create(device="cpu:0"), "new")
    assert sorted(os.listdir()) == ["folder", "model", "notes.txt", "other.safetensors"]


def test_a_failed_write_leaves_the_old_model(
    trained: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = save(trained("concave"), "model")
    before = file.read_bytes()

    def full(*arguments: Any, **named: Any) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(pathlib.Path, "write_bytes", full)
        with pytest.raises(OSError, match="No space left"):
            save(trained("euclidean"), "model", overwrite=True)
        with pytest.raises(OSError, match="No space left"):
            save(trained("euclidean"), "other")
    assert os.listdir() == ["model"]
    assert file.read_bytes() == before
    load(file)


def test_a_scaler_that_is_not_fitted_cannot_be_saved() -> None:
    config = ConstraintAwareQConfig(observation_scaler=MinMaxObservationScaler())
    algo = config.create(device="cpu:0")
    algo.create_impl((2,), 5)
    with pytest.raises(ValueError, match="observation_scaler must be fitted"):
        save(algo, "model")
    assert os.listdir() == []


# -- what must be refused --------------------------------------------------------


class _Bomb:
    def __reduce__(self) -> Any:
        return os.mkdir, ("exploded",)


def first(tensors: dict[str, torch.Tensor]) -> str:
    return next(k for k, v in sorted(tensors.items()) if v.dim() == 2)


def flip_a_byte(file: pathlib.Path) -> None:
    content = bytearray(file.read_bytes())
    content[-1] ^= 1
    file.write_bytes(content)


def describing(**fields: Any) -> Callable[[pathlib.Path], None]:
    """Other fields of the description, under the right checksum."""
    return lambda file: forge(file, with_description, lambda d: d.update(fields))


def saying(text: str) -> Callable[[pathlib.Path], None]:
    return lambda file: forge(file, with_text, text)


def holding(change: Callable[[Any], Any]) -> Callable[[pathlib.Path], None]:
    return lambda file: forge(file, with_tensors, change)


TAMPERINGS: dict[str, tuple[Callable[[pathlib.Path], Any], str]] = {
    "pickle": (lambda f: f.write_bytes(pickle.dumps(_Bomb())), "is not a safetensors"),
    "torch file": (lambda f: torch.save(_Bomb(), f), "is not a safetensors"),
    "truncated": (lambda f: f.write_bytes(f.read_bytes()[:-10]), "was changed"),
    "longer": (lambda f: f.write_bytes(f.read_bytes() + b"0"), "was changed"),
    "empty": (lambda f: f.write_bytes(b""), "is not a safetensors file"),
    "a folder": (lambda f: (f.unlink(), f.mkdir()), "must be a file"),
    "a fifo": (lambda f: (f.unlink(), os.mkfifo(f)), "must be a file"),
    "wrong checksum": (flip_a_byte, "was changed after it was written"),
    "another format": (describing(format=2), "has format 2"),
    "no version": (describing(format=True), "format of type int"),
    "a checkpoint": (describing(kind="checkpoint"), "must be a model"),
    "another kind": (
        lambda f: save_file(load_file(str(f)), str(f)),
        "must have a description",
    ),
    "a list": (saying("[]"), "must have an object"),
    "no JSON": (saying("{"), "is not JSON"),
    "deep JSON": (saying("[" * 10**6), "is not JSON"),
    "NaN in JSON": (saying('{"format": NaN}'), "NaN is no number"),
    "a name twice": (saying('{"format": 1, "format": 1}'), "given twice"),
    "an unknown name": (describing(more=1), "unknown or missing: .'more'"),
    "no config": (describing(config=None), "config of type dict"),
    "unknown algorithm": (
        describing(config={"type": "os.system", "params": {}}),
        "has a config that this version cannot build",
    ),
    "negative step": (describing(grad_step=-1), "must have a grad_step from 0"),
    "another grid": (describing(action_grid=[0.0, 0.5, 0.6, 0.7, 1.0]), "action_grid"),
    "missing tensor": (
        holding(lambda t: t.pop(first(t))),
        "other tensors than the config asks for",
    ),
    "another shape": (
        holding(lambda t: t.update({first(t): torch.zeros(2, 2)})),
        r"shape \(\d+, \d+\), got",
    ),
    "another type": (
        holding(lambda t: t.update({first(t): t[first(t)].double()})),
        "of type torch.float32",
    ),
    "NaN": (
        holding(lambda t: t[first(t)].fill_(float("nan"))),
        "must have finite numbers",
    ),
}


@pytest.mark.parametrize("name", sorted(TAMPERINGS))
def test_tampering_is_refused_without_a_side_effect(name: str, trained: Any) -> None:
    tamper, message = TAMPERINGS[name]
    file = save(trained("concave"), "model")
    tamper(file)
    with pytest.raises(ArtefactError, match=message) as caught:
        load(file)
    assert caught.value.path == file
    assert os.listdir() == ["model"]


def test_a_field_of_the_config_that_is_unknown_or_of_another_type(trained: Any) -> None:
    for change, message in (
        (lambda p: p.update(more=1), "more must be None, got 1"),
        (lambda p: p.pop("gamma"), "gamma must be 0.99, got None"),
        (lambda p: p.update(n_critics=True), "n_critics must be an integer"),
        (lambda p: p.update(gamma=0), "gamma must be 0.0, got 0"),
        (lambda p: p["critic"]["params"].update(n_pieces="4"), "n_pieces must be"),
    ):
        file = save(trained("concave"), "model", overwrite=True)
        forge(
            file, with_description, lambda d, c=change: c(d["config"]["config"]["params"])
        )
        with pytest.raises(ArtefactError, match=message):
            load(file)


@pytest.mark.parametrize("count", [100, pytest.param(1000, marks=pytest.mark.slow)])
def test_a_flipped_bit_is_found(count: int, trained: Any) -> None:
    file = save(trained("cost, scaler"), "model")
    whole = file.read_bytes()
    random = np.random.default_rng(0)
    # Half of them where the description is, which is small beside the numbers.
    header = int.from_bytes(whole[:8], "little")
    for limit in (header, len(whole)):
        for bit in random.integers(8 * limit, size=count // 2):
            content = bytearray(whole)
            content[bit // 8] ^= 1 << (bit % 8)
            file.write_bytes(content)
            with pytest.raises(ArtefactError):
                load(file)
    file.write_bytes(whole)
    load(file)


def test_a_model_with_nan_is_not_saved_over_a_good_one(dataset: Any) -> None:
    algo: Any = ConstraintAwareQConfig().create()
    algo.build_with_dataset(dataset)
    file = save(algo, "model")
    before = file.read_bytes()
    for bad in (float("nan"), float("inf")):
        with torch.no_grad():
            next(algo.impl.q_function.parameters())[0] = bad
        with pytest.raises(ValueError, match="must be finite"):
            save(algo, "model", overwrite=True)
    assert file.read_bytes() == before
    assert os.listdir() == ["model"]


def test_nothing_there() -> None:
    with pytest.raises(FileNotFoundError, match="no saved model at nowhere"):
        load("nowhere")


def test_the_description_is_in_the_header(trained: Any) -> None:
    file = save(trained("concave"), "model")
    with safe_open(str(file), framework="np") as opened:
        assert json.loads(opened.metadata()["icac_algo"][64:]) == describe(file)


@settings(max_examples=200, deadline=None)
@given(
    st.one_of(
        st.binary(max_size=200),
        st.recursive(
            st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
            lambda inner: (
                st.lists(inner)
                | st.dictionaries(
                    st.sampled_from(["format", "config", "grad_step", "kind", "data"]),
                    inner,
                )
            ),
            max_leaves=20,
        ).map(lambda value: json.dumps(value).encode()),
    )
)
def test_any_other_description_is_refused(content: bytes) -> None:
    file = pathlib.Path("any")
    metadata = {"icac_algo": "0" * 64 + content.decode(errors="replace")}
    save_file({"a": torch.ones(1)}, str(file), metadata=metadata)
    forge(file, seal)
    with pytest.raises(ArtefactError):
        load(file)


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=200))
def test_any_bytes_are_refused(content: bytes) -> None:
    pathlib.Path("any").write_bytes(content)
    with pytest.raises(ArtefactError):
        load("any")
