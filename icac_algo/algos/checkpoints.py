"""Checkpoints: everything that training needs to go on as if it had not stopped.

d3rlpy's ``save`` keeps networks and optimizers but neither the step count nor where the
random numbers stand.  A checkpoint keeps both, of every process, and training that is
resumed from one on the CPU is bit for bit the training that was never interrupted.
"""

from __future__ import annotations

import dataclasses
import io
import json
import os
import pathlib
import random
from typing import Any

import numpy as np
import torch
import torch.distributed
from d3rlpy.base import DeviceArg, LearnableConfigWithShape
from d3rlpy.dataset import ReplayBufferBase
from d3rlpy.torch_utility import map_location, unwrap_ddp_model
from torch import nn

from .._util.checks import check_built, check_path
from .._util.files import write_whole
from ..data import ColumnarReplayBuffer

FORMAT = 1

PathLike = str | os.PathLike[str]


@dataclasses.dataclass(frozen=True)
class Progress:
    """How far a ``fit`` has come."""

    epoch: int = 0
    step: int = 0


def save_checkpoint(
    algo: Any,
    file: PathLike,
    dataset: ReplayBufferBase | None = None,
    progress: Progress | None = None,
) -> None:
    """Writes an algorithm with its whole training state, as a whole or not at all.

    Of several processes all must call this; the first writes.

    Args:
        algo: a built algorithm of ours.
        file: destination.
        dataset: what it is trained on, whose random stream is kept if it has its own.
        progress: how far ``fit`` has come; nothing if it is not running.

    Raises:
        TypeError: ``algo`` is no algorithm, or ``file`` no path.
        ValueError: the algorithm is not built.
        OSError: the file cannot be written; what was there stays.
    """
    check_path("file", file)
    check_built(algo)
    processes = _from_all_processes(_state_of_process(dataset))
    if _rank() != 0:
        return
    config = LearnableConfigWithShape(
        algo.impl.observation_shape, algo.impl.action_size, algo.config
    )
    progress = progress or Progress()
    content = {
        "format": FORMAT,
        "config": config.serialize(),
        "modules": {
            name: module.state_dict() for name, module in _unwrapped(algo).items()
        },
        "grad_step": algo.grad_step,
        "progress": dataclasses.asdict(progress),
        "processes": processes,
    }
    pathlib.Path(file).parent.mkdir(parents=True, exist_ok=True)
    buffer = io.BytesIO()
    torch.save(content, buffer)
    write_whole(file, buffer.getvalue())


def load_checkpoint(
    file: PathLike, device: DeviceArg = None, enable_ddp: bool = False
) -> Any:
    """The algorithm of a checkpoint, ready to predict or to be trained further.

    Unlike ``d3rlpy.load_learnable`` it runs no code from the file.  The state of the
    random numbers is restored by ``fit(checkpoint=...)`` only.

    Args:
        file: what ``save_checkpoint`` or ``fit(checkpoint=...)`` wrote.
        device: as in ``create``.
        enable_ddp: as in ``create``.

    Raises:
        ValueError: the file is no checkpoint.
    """
    content = _read(file, "cpu:0")
    shaped = LearnableConfigWithShape.deserialize(content["config"])
    algo: Any = shaped.config.create(device, enable_ddp)
    algo.create_impl(shaped.observation_shape, shaped.action_size)
    _restore_modules(algo, content)
    return algo


def restore_checkpoint(
    algo: Any, file: PathLike, dataset: ReplayBufferBase | None = None
) -> Progress:
    """Puts a built algorithm, the dataset's and all global random states back."""
    content = _read(file, algo.impl.device)
    config = LearnableConfigWithShape(
        algo.impl.observation_shape, algo.impl.action_size, algo.config
    )
    _refuse_difference(
        file, json.loads(content["config"]), json.loads(config.serialize())
    )
    processes = content["processes"]
    if len(processes) != _world_size():
        raise ValueError(
            f"the checkpoint {file} was written by {len(processes)} processes and can "
            f"only be continued by as many, got {_world_size()}"
        )
    state = json.loads(processes[_rank()])
    count = None if dataset is None else dataset.transition_count
    if count != state["transitions"]:
        raise ValueError(
            f"the checkpoint {file} was trained on {state['transitions']} transitions, "
            f"got a dataset of {count}; load_checkpoint can train further on other data"
        )
    _restore_modules(algo, content)
    _restore_random(state, dataset)
    return Progress(**content["progress"])


# -- networks and optimizers -------------------------------------------------


def _unwrapped(algo: Any) -> dict[str, Any]:
    # d3rlpy saves modules without the wrapper of several processes but loads them into
    # it, where the names differ.
    modules = algo.impl.modules.create_checkpointer(algo.impl.device).modules
    return {
        name: unwrap_ddp_model(module) if isinstance(module, nn.Module) else module
        for name, module in modules.items()
    }


def _restore_modules(algo: Any, content: dict[str, Any]) -> None:
    for name, module in _unwrapped(algo).items():
        module.load_state_dict(content["modules"][name])
    algo.set_grad_step(content["grad_step"])


def _read(file: PathLike, device: str) -> dict[str, Any]:
    if not pathlib.Path(file).exists():
        raise FileNotFoundError(f"no such checkpoint: {file}")
    try:
        content = torch.load(file, map_location=map_location(device), weights_only=True)
        known = content["format"] == FORMAT
    except Exception as error:
        raise ValueError(f"{file} is not a checkpoint: {error}") from error
    if not known:
        raise ValueError(
            f"the checkpoint {file} has format {content['format']}, expected {FORMAT}"
        )
    return dict(content)


def _refuse_difference(file: PathLike, saved: Any, given: Any, path: str = "") -> None:
    if isinstance(saved, dict) and isinstance(given, dict):
        # The type first: what it is comes before how it is set.
        for key in sorted(saved.keys() | given.keys(), key=lambda k: (k != "type", k)):
            inner = f"{path}.{key}" if path else key
            _refuse_difference(file, saved.get(key), given.get(key), inner)
    elif saved != given:
        name = path.replace("config.params.", "")
        raise ValueError(
            f"the checkpoint {file} was trained with {name}={saved!r}, got {given!r}; "
            "use another file, or load_checkpoint to train further as it was"
        )


# -- random numbers ----------------------------------------------------------


def _state_of_process(dataset: ReplayBufferBase | None) -> str:
    """One process's random states and data, as JSON."""
    numpy_state = np.random.get_state(legacy=False)  # noqa: NPY002
    own = dataset.random_state if isinstance(dataset, ColumnarReplayBuffer) else None
    cuda = torch.cuda.get_rng_state_all() if torch.cuda.is_available() else []
    state = {
        "transitions": None if dataset is None else dataset.transition_count,
        "python": random.getstate(),
        "numpy": numpy_state,
        "torch": torch.get_rng_state(),
        "cuda": cuda,
        "dataset": own,
    }
    return json.dumps(state, default=lambda array: array.tolist())


def _restore_random(state: dict[str, Any], dataset: ReplayBufferBase | None) -> None:
    version, internal, gauss = state["python"]
    random.setstate((version, tuple(internal), gauss))
    np.random.set_state(state["numpy"])  # noqa: NPY002
    torch.set_rng_state(torch.tensor(state["torch"], dtype=torch.uint8))
    if state["cuda"] and torch.cuda.is_available():
        torch.cuda.set_rng_state_all(
            [torch.tensor(one, dtype=torch.uint8) for one in state["cuda"]]
        )
    if isinstance(dataset, ColumnarReplayBuffer):
        dataset.random_state = state["dataset"]


# -- processes ---------------------------------------------------------------


def _distributed() -> bool:
    return torch.distributed.is_available() and torch.distributed.is_initialized()


def _rank() -> int:
    return torch.distributed.get_rank() if _distributed() else 0


def _world_size() -> int:
    return torch.distributed.get_world_size() if _distributed() else 1


def _from_all_processes(value: str) -> list[str]:
    if not _distributed():
        return [value]
    values: list[Any] = [None] * _world_size()
    torch.distributed.all_gather_object(values, value)
    return values
