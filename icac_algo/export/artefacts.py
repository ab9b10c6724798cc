"""``save`` and ``load``: what predicting needs of a model, in one sealed file."""

from __future__ import annotations

import pathlib
from typing import Any

from d3rlpy.base import DeviceArg
from d3rlpy.constants import ActionSpace
from d3rlpy.dataset import ReplayBufferBase

from .._util.checks import check_built, check_flag, check_path, check_type
from ..data import fingerprint
from ..shapes import Constraint
from .model_files import (
    ArtefactError,
    ModelFile,
    PathLike,
    describe_algorithm,
    tensors_of,
    write_file,
)

_FIELDS = ("action_grid", "data")


def save(
    algo: Any, path: PathLike, dataset: Any = None, overwrite: bool = False
) -> pathlib.Path:
    """Writes a model as one safetensors file and returns its path.

    Holds what predicting needs, networks and fitted scalers, not the optimizers
    (:func:`icac_algo.algos.save_checkpoint` keeps those).

    Args:
        algo: a built or fitted d3rlpy algorithm, ours or its own.
        path: the file; its folder must exist.
        dataset: what it was trained on, for a fingerprint; a replay buffer.
        overwrite: whether a saved model that is there may be replaced.

    Raises:
        TypeError: ``algo`` or ``dataset`` is of another kind.
        ValueError: the algorithm is not built.
        FileNotFoundError: the folder does not exist.
        FileExistsError: there is something at ``path`` that may not be replaced.
        OSError: it cannot be written; what was there stays.
    """
    check_path("path", path)
    check_flag("overwrite", overwrite)
    if dataset is not None:
        check_type("dataset", dataset, ReplayBufferBase, "be a d3rlpy replay buffer")
    algo = built_algorithm(algo)
    path = pathlib.Path(path)
    if not path.absolute().parent.is_dir():
        raise FileNotFoundError(f"path must be in a folder that exists, got {path}")
    if path.exists() and not (overwrite and _is_model(path)):
        allowed = "overwrite=True replaces a saved model"
        raise FileExistsError(f"path must not exist yet ({allowed}), got {path}")
    data = None
    if dataset is not None:
        data = {
            "fingerprint": fingerprint(dataset),
            "transitions": int(dataset.transition_count),
            "episodes": len(dataset.episodes),
        }
    description = {
        **describe_algorithm(algo, "model"),
        "action_grid": action_grid(algo),
        "data": data,
    }
    write_file(path, description, tensors_of(algo))
    return path


def describe(path: PathLike) -> dict[str, Any]:
    """What :func:`save` wrote beside the numbers, without building the model.

    Returns:
        ``config``, ``action_grid`` (positions of discrete actions, or ``None``),
        ``grad_step``, ``versions`` of the packages that wrote it, ``data`` (fingerprint
        and size of the training data, or ``None``), ``format`` and ``kind``.

    Raises:
        FileNotFoundError: there is no file.
        ArtefactError: it is not a saved model of this format, or was changed.
    """
    file = ModelFile.open(path, "model", _FIELDS)
    file.read()
    return file.description


def load(path: PathLike, device: DeviceArg = None) -> Any:
    """The model of :func:`save`, ready to predict; nothing in the file is executed.

    Networks are built only as large as the numbers in the file.  ``device`` is as in
    ``create``.

    Raises:
        FileNotFoundError: there is no file.
        ArtefactError: it is not a saved model of this format, truncated, changed or of
            another model, or the config is unknown.
    """
    file = ModelFile.open(path, "model", _FIELDS)
    algo = file.build(device)
    grid = file.description["action_grid"]
    if grid != action_grid(algo):
        reason = f"must have the action_grid {action_grid(algo)}, got {grid}"
        raise ArtefactError(path, reason)
    file.read_into(algo)
    return algo


def _is_model(path: pathlib.Path) -> bool:
    try:
        ModelFile.open(path, "model", _FIELDS)
    except ArtefactError:
        return False
    return True


def built_algorithm(algo: Any) -> Any:
    """A built algorithm of d3rlpy, which other models may have made of them."""
    algo = algo.to_d3rlpy() if hasattr(algo, "to_d3rlpy") else algo
    check_built(algo)
    return algo


def constraint_of(algo: Any) -> Constraint | None:
    """The shape of an algorithm's critic, its own or its factory's."""
    factory = getattr(algo.config, "q_func_factory", None)
    stated = getattr(algo.config, "constraint", getattr(factory, "constraint", None))
    return stated if isinstance(stated, Constraint) else None


def action_grid(algo: Any) -> list[float] | None:
    """Positions of discrete actions in their own units; indices without a shape."""
    if algo.get_action_type() != ActionSpace.DISCRETE:
        return None
    constraint, size = constraint_of(algo), algo.impl.action_size
    if constraint is None:
        return [float(i) for i in range(size)]
    return [float(p) for p in constraint.positions(size)]
