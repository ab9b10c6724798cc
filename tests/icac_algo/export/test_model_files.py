"""No file takes the machine, and no interruption takes the model."""

from __future__ import annotations

import os
import pathlib
import struct
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import pytest
import torch
from d3rlpy.algos import DQNConfig
from d3rlpy.models.encoders import PixelEncoderFactory, VectorEncoderFactory
from d3rlpy.models.q_functions import QRQFunctionFactory

from icac_algo import Canonical, ConstraintAwareQConfig, Euclidean, Monotone
from icac_algo.algos import save_checkpoint
from icac_algo.export import save
from tests.icac_algo.export.forging import (
    parts,
    with_description,
    with_header,
    with_tensors,
    with_text,
)

SMALL = VectorEncoderFactory([8, 8])
MODELS: dict[str, tuple[Callable[[], Any], tuple[int, ...]]] = {
    "functional": (lambda: ConstraintAwareQConfig(critic_encoder_factory=SMALL), (2,)),
    "canonical": (
        lambda: ConstraintAwareQConfig(critic=Canonical(), critic_encoder_factory=SMALL),
        (2,),
    ),
    "euclidean": (
        lambda: ConstraintAwareQConfig(
            critic=Euclidean(), constraint=Monotone(), critic_encoder_factory=SMALL
        ),
        (2,),
    ),
    "quantiles": (
        lambda: DQNConfig(
            encoder_factory=SMALL, q_func_factory=QRQFunctionFactory(n_quantiles=4)
        ),
        (2,),
    ),
    "pixels": (
        lambda: DQNConfig(encoder_factory=PixelEncoderFactory([[2, 8, 4]], 4)),
        (1, 84, 84),
    ),
}
CHILD = """
import resource, sys
from icac_algo.algos import load_checkpoint
from icac_algo.export import ArtefactError, load

own, kind, *files = sys.argv[1:]
read = {"model": load, "checkpoint": load_checkpoint}[kind]
read(own)
used = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (used + 2**30,) * 2)
for file in files:
    try:
        read(file)
    except ArtefactError as error:
        assert file in str(error)
    else:
        raise AssertionError(f"{file} was loaded")
"""


def params(description: Any) -> Any:
    return description["config"]["config"]["params"]


def encoder(description: Any) -> Any:
    found = params(description)
    name = "critic_encoder_factory" if "n_pieces" in str(found) else "encoder_factory"
    return found.get(name, found.get("critic_encoder_factory"))["params"]


def quantiles(description: Any) -> None:
    for part in ("q_func_factory", "critic"):
        for name in params(description).get(part, {"params": {}})["params"]:
            if name in ("n_quantiles", "n_pieces", "inner_iterations"):
                params(description)[part]["params"][name] = 10**9
                return
    params(description)["n_critics"] = 10**9


def hostile(content: bytes) -> dict[str, bytes]:
    """Files with the right checksum that ask for too much, or say nothing sensible."""
    config: dict[str, Callable[[Any], Any]] = {
        "critics": lambda d: params(d).update(n_critics=3000),
        "more critics": lambda d: params(d).update(n_critics=10**12),
        "layers": lambda d: encoder(d).update(hidden_units=[1] * 10**5),
        "wide": lambda d: encoder(d).update(hidden_units=[10**9, 8]),
        "square": lambda d: encoder(d).update(hidden_units=[60_000, 60_000]),
        "negative": lambda d: encoder(d).update(hidden_units=[-1]),
        "filters": lambda d: encoder(d).update(filters=[[10**9, 8, 4]]),
        "features": lambda d: d["config"].update(observation_shape=[3_000_000]),
        "image": lambda d: d["config"].update(observation_shape=[3, 10**5, 10**5]),
        "no shape": lambda d: d["config"].update(observation_shape=[]),
        "actions": lambda d: d["config"].update(action_size=10**9),
        "some actions": lambda d: d["config"].update(action_size=4096),
        "no actions": lambda d: d["config"].update(action_size=0),
        "quantiles": quantiles,
        "scaler": lambda d: params(d).update(
            observation_scaler={
                "type": "min_max",
                "params": {"minimum": [0.0] * 10**5, "maximum": [1.0] * 10**5},
            }
        ),
        "steps": lambda d: d.update(grad_step=10**400),
    }
    found = {name: with_description(content, change) for name, change in config.items()}
    entries = {k: v for k, v in parts(content)[0].items() if k != "__metadata__"}
    found["header"] = struct.pack("<Q", 10**8) + content[8:] + b" " * 10**6
    found["header beyond"] = struct.pack("<Q", 2**63) + content[8:]
    found["deep"] = with_text(content, '{"a":' * 10**5)
    found["lists"] = with_text(content, '{"a":[' + "[]," * 10**6 + "0]}")
    found["tensors"] = with_tensors(
        content, lambda t: t.update({f"t{i}": torch.zeros(0) for i in range(11_000)})
    )
    found["offsets"] = with_header(
        content,
        lambda h: [h[name].update(data_offsets=[0, 10**12]) for name in entries],
    )
    found["shapes"] = with_header(
        content, lambda h: [h[name].update(shape=[10**12]) for name in entries]
    )
    return found


@pytest.mark.skipif(sys.platform != "linux", reason="limits memory as Linux does")
@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("functional", "model"),
        *(
            pytest.param(name, kind, marks=pytest.mark.slow)
            for name in MODELS
            for kind in ("model", "checkpoint")
            if (name, kind) != ("functional", "model")
        ),
    ],
)
def test_no_file_asks_for_more_than_it_holds(
    name: str, kind: str, tmp_path: pathlib.Path
) -> None:
    config, shape = MODELS[name]
    algo = config().create(device="cpu:0")
    algo.create_impl(shape, 4)
    own = tmp_path / "own"
    if kind == "model":
        save(algo, own)
    else:
        save_checkpoint(algo, own)
    files = []
    for index, (label, content) in enumerate(hostile(own.read_bytes()).items()):
        if label == "some actions" and name == "functional":
            # Its networks are the same for any number of actions.
            continue
        files.append(tmp_path / f"{index} {label}")
        files[-1].write_bytes(content)
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", CHILD, own, kind, *files],
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr[-2000:]


KILLER = """
import os, random, signal, time, torch
from icac_algo import Concave, ConstraintAwareQConfig
from icac_algo.export import load, save

torch.set_num_threads(1)
models = []
for size in (2, 3):
    algo = ConstraintAwareQConfig(constraint=Concave()).create(device="cpu:0")
    algo.create_impl((size,), 5)
    models.append(algo)
save(models[0], "model")
chance = random.Random(0)
for _ in range(40):
    child = os.fork()
    if child == 0:
        while True:
            for algo in models:
                save(algo, "model", overwrite=True)
    time.sleep(0.2 * chance.random())
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    assert load("model").impl.observation_shape[0] in (2, 3)
# What the killed ones left is collected by the next who succeeds.
save(models[0], "model", overwrite=True)
assert os.listdir() == ["model"], os.listdir()
"""


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(os, "fork"), reason="forks")
def test_a_killed_writer_leaves_one_of_the_two_models(tmp_path: pathlib.Path) -> None:
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", KILLER],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        timeout=300,
    )
    assert done.returncode == 0, done.stderr[-2000:]
