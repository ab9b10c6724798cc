"""Checkpoints: everything that training needs to go on as if it had not stopped.

d3rlpy's ``save`` keeps networks and optimizers but neither the step count nor where the
random numbers stand.  A checkpoint keeps both, of every process, and training that is
resumed from one on the CPU is bit for bit the training that was never interrupted.  Its
file is that of :func:`icac_algo.save`, with the optimizers and the random states.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import pathlib
from collections.abc import Iterator
from typing import Any

import torch
import torch.distributed
from d3rlpy.base import DeviceArg
from d3rlpy.dataset import ReplayBufferBase

from .._util.checks import check_built, check_path
from .._util.random_numbers import random_state, restore_random_state
from ..data import ColumnarReplayBuffer, fingerprint
from ..export import (
    ArtefactError,
    ModelFile,
    PathLike,
    describe_algorithm,
    differences,
    tensors_of,
    write_file,
)
from .processes import from_all_processes, rank

_FIELDS = ("optimizers", "processes", "progress")
_STATE = "state/"


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
        dataset: what it is trained on, whose fingerprint is kept, and whose random stream
            if it has its own.
        progress: how far ``fit`` has come; nothing if it is not running.

    Raises:
        TypeError: ``algo`` is no algorithm, or ``file`` no path.
        ValueError: the algorithm is not built, or a number in it is NaN or infinite.
        OSError: the file cannot be written; what was there stays.
    """
    check_path("file", file)
    data = None if dataset is None else fingerprint(dataset)
    write_checkpoint(algo, file, dataset, progress or Progress(), data)


def write_checkpoint(
    algo: Any,
    file: PathLike,
    dataset: ReplayBufferBase | None,
    progress: Progress,
    data: str | None,
) -> None:
    """As :func:`save_checkpoint`, of data whose fingerprint is known."""
    description, tensors = training_state(algo)
    processes = from_all_processes({**_random_state(dataset), "data": data})
    if rank() != 0:
        return
    description["progress"] = dataclasses.asdict(progress)
    description["processes"] = _pack(processes, f"{_STATE}processes", tensors)
    pathlib.Path(file).parent.mkdir(parents=True, exist_ok=True)
    write_file(file, description, tensors)


def training_state(algo: Any) -> tuple[dict[str, Any], dict[str, torch.Tensor]]:
    """The networks and optimizers of a built algorithm, as JSON and tensors."""
    check_built(algo)
    tensors = tensors_of(algo)
    optimizers = {name: one.state_dict() for name, one in _optimizers(algo).items()}
    packed = _pack(optimizers, f"{_STATE}optimizers", tensors)
    return {**describe_algorithm(algo, "checkpoint"), "optimizers": packed}, tensors


def load_checkpoint(
    file: PathLike, device: DeviceArg = None, enable_ddp: bool = False
) -> Any:
    """The algorithm of a checkpoint, ready to predict or to be trained further.

    Nothing in the file is executed.  The state of the random numbers is restored by
    ``fit(checkpoint=...)`` only.

    Args:
        file: what ``save_checkpoint`` or ``fit(checkpoint=...)`` wrote.
        device: as in ``create``.
        enable_ddp: as in ``create``.

    Raises:
        FileNotFoundError: there is no file.
        ArtefactError: the file is no checkpoint, was changed, or does not fit its config.
    """
    opened = ModelFile.open(file, "checkpoint", _FIELDS)
    algo = opened.build(device, enable_ddp)
    _restore(algo, opened, opened.read_into(algo))
    return algo


def restore_checkpoint(
    algo: Any, file: PathLike, dataset: ReplayBufferBase, data: str
) -> Progress:
    """Puts a built algorithm, the dataset's and all global random states back.

    ``data`` is the dataset's fingerprint.
    """
    opened = ModelFile.open(file, "checkpoint", _FIELDS)
    own = describe_algorithm(algo, "checkpoint")["config"]
    for name, saved, given in differences(opened.description["config"], own):
        raise ValueError(
            f"the checkpoint {file} was trained with {name}={saved!r}, got {given!r}; "
            "use another file, or load_checkpoint to train further as it was"
        )
    tensors = opened.read_into(algo)
    with _errors_of(file):
        progress = Progress(**opened.description["progress"])
        if not all(type(n) is int and n >= 0 for n in vars(progress).values()):
            raise ValueError(f"progress must be counts, got {progress}")
        processes = _unpack(opened.description["processes"], tensors)
        saved_data = [state["data"] for state in processes]
    all_data = from_all_processes(data)
    if len(all_data) != len(processes):
        raise ValueError(
            f"the checkpoint {file} was written by {len(processes)} processes and can "
            f"only be continued by as many, got {len(all_data)}"
        )
    if all_data != saved_data:
        raise ValueError(
            f"the checkpoint {file} was trained on other data, of the fingerprint "
            f"{saved_data}, got {all_data}; use another file, or load_checkpoint to "
            "train further on these"
        )
    _restore(algo, opened, tensors)
    with _errors_of(file):
        _restore_random(processes[rank()], dataset)
    return progress


@contextlib.contextmanager
def _errors_of(file: PathLike) -> Iterator[None]:
    try:
        yield
    except Exception as error:
        reason = f"has a training state that does not fit: {error!r}"
        raise ArtefactError(file, reason) from error


# -- optimizers --------------------------------------------------------------


def _optimizers(algo: Any) -> dict[str, Any]:
    modules = algo.impl.modules.create_checkpointer(algo.impl.device).modules
    return {
        name: one for name, one in modules.items() if not isinstance(one, torch.nn.Module)
    }


def _restore(algo: Any, file: ModelFile, tensors: dict[str, torch.Tensor]) -> None:
    saved = file.description["optimizers"]
    with _errors_of(file.path):
        if saved.keys() != _optimizers(algo).keys():
            raise ValueError(f"optimizers must be {[*_optimizers(algo)]}, got {[*saved]}")
        for name, optimizer in _optimizers(algo).items():
            state = _unpack(saved[name], tensors)
            _check_state(name, state, optimizer)
            optimizer.load_state_dict(state)
    algo.set_grad_step(file.description["grad_step"])


def _check_state(name: str, state: dict[str, Any], optimizer: Any) -> None:
    """Refuses what torch would take and stumble over at the next step."""
    fresh = optimizer.state_dict()
    for part, like, given in (
        ("groups", fresh["optim"]["param_groups"], state["optim"]["param_groups"]),
        ("lr_scheduler", fresh["lr_scheduler"], state["lr_scheduler"]),
    ):
        if _form(like) != _form(given):
            raise ValueError(f"{name} must have {part} like {like}, got {given}")
    groups = optimizer.optim.param_groups
    weights = [one for group in groups for one in group["params"]]
    for index, moments in state["optim"]["state"].items():
        for key, value in moments.items():
            if isinstance(value, torch.Tensor) and value.shape not in (
                weights[index].shape,
                (),
            ):
                raise ValueError(
                    f"{name} must have {key} of shape {tuple(weights[index].shape)}, got "
                    f"{tuple(value.shape)}"
                )


def _form(value: Any) -> Any:
    """The names, lengths and types in a state, without its values."""
    if isinstance(value, dict):
        return {key: _form(one) for key, one in value.items()}
    if isinstance(value, (list, tuple)):
        return [_form(one) for one in value]
    return "number" if type(value) in (int, float) else type(value).__name__


def _pack(value: Any, name: str, tensors: dict[str, torch.Tensor]) -> Any:
    """A nested state as JSON, in which tensors are named."""
    if isinstance(value, torch.Tensor):
        tensors[name] = value.detach().cpu().contiguous().clone()
        return {"tensor": name}
    if isinstance(value, dict):
        return {str(k): _pack(v, f"{name}/{k}", tensors) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [_pack(v, f"{name}/{i}", tensors) for i, v in enumerate(value)]
    json.dumps(value, allow_nan=False)
    return value


def _unpack(value: Any, tensors: dict[str, torch.Tensor]) -> Any:
    if isinstance(value, dict) and value.keys() == {"tensor"}:
        return tensors[value["tensor"]]
    if isinstance(value, dict):
        # torch numbers the parameters of an optimizer; JSON's names are texts.
        return {
            int(k) if k.isdecimal() else k: _unpack(v, tensors) for k, v in value.items()
        }
    if isinstance(value, list):
        return [_unpack(one, tensors) for one in value]
    return value


# -- random numbers ----------------------------------------------------------


def _random_state(dataset: ReplayBufferBase | None) -> dict[str, Any]:
    own = dataset.random_state if isinstance(dataset, ColumnarReplayBuffer) else None
    return {**random_state(), "dataset": own}


def _restore_random(state: dict[str, Any], dataset: ReplayBufferBase) -> None:
    restore_random_state(state)
    if isinstance(dataset, ColumnarReplayBuffer):
        dataset.random_state = state["dataset"]
