"""``save`` and ``load``: numbers and JSON in one file, written whole or not at all.

A file is one of safetensors, whose header holds tensors' names and a text of ours: the
config and what people want to know of a model.
"""

from __future__ import annotations

import hashlib
import importlib.metadata
import json
import os
import pathlib
from typing import Any

import torch
from d3rlpy.base import DeviceArg, LearnableConfigWithShape
from d3rlpy.constants import ActionSpace
from d3rlpy.dataset import ReplayBufferBase

from .._util.checks import check_built, check_flag, check_path, check_type
from .._util.files import write_whole
from ..data import blocks

PathLike = str | os.PathLike[str]
_KEY = "icac_algo"
_FORMAT = 1
_PACKAGES = ("bidclick-icac", "d3rlpy", "torch", "numpy", "safetensors")


class ArtefactError(ValueError):
    """A saved model is not what it should be; nothing of it was loaded."""


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
    from safetensors.torch import save as serialize

    check_path("path", path)
    check_flag("overwrite", overwrite)
    if dataset is not None:
        check_type("dataset", dataset, ReplayBufferBase, "be a d3rlpy replay buffer")
    check_built(algo)
    path = pathlib.Path(path)
    if not path.absolute().parent.is_dir():
        raise FileNotFoundError(f"path must be in a folder that exists, got {path}")
    if path.exists() and not (overwrite and _is_model(path)):
        allowed = "overwrite=True replaces a saved model"
        raise FileExistsError(f"path must not exist yet ({allowed}), got {path}")
    shaped = LearnableConfigWithShape(
        algo.impl.observation_shape, algo.impl.action_size, algo.config
    )
    tensors = _tensors(algo)
    description = {
        "format": _FORMAT,
        "config": json.loads(shaped.serialize()),
        "action_grid": _action_grid(algo),
        "grad_step": int(algo.grad_step),
        "versions": _versions(),
        "data": None if dataset is None else _fingerprint(dataset),
        "sha256": _digest(tensors),
    }
    text = json.dumps(description, sort_keys=True, allow_nan=False)
    write_whole(path, serialize(tensors, metadata={_KEY: text}))
    return path


def describe(path: PathLike) -> dict[str, Any]:
    """What :func:`save` wrote beside the numbers, without loading the model.

    Returns:
        ``config``, ``action_grid`` (positions of discrete actions, or ``None``),
        ``grad_step``, ``versions`` of the packages that wrote it, ``data`` (fingerprint
        and size of the training data, or ``None``), ``format`` and ``sha256``, the
        checksum of the tensors.

    Raises:
        FileNotFoundError: there is no file.
        ArtefactError: it is not a saved model, or of a newer format.
    """
    return _read(path, with_tensors=False)[0]


def load(path: PathLike, device: DeviceArg = None) -> Any:
    """The model of :func:`save`, ready to predict; nothing in the file is executed.

    ``device`` is as in ``create``.

    Raises:
        FileNotFoundError: there is no file.
        ArtefactError: it is not a saved model, of a newer format, truncated, changed or
            of another model, or the config is unknown.
    """
    description, tensors = _read(path, with_tensors=True)
    if _digest(tensors) != description["sha256"]:
        raise ArtefactError(
            f"{path} must have tensors of the checksum {description['sha256']}, got "
            f"{_digest(tensors)}: it was changed after it was saved"
        )
    try:
        shaped = LearnableConfigWithShape.deserialize(json.dumps(description["config"]))
        algo: Any = shaped.config.create(device)
        algo.create_impl(shaped.observation_shape, shaped.action_size)
    except Exception as error:
        raise ArtefactError(
            f"{path}: config is not one that this version can build: {error}"
        ) from error
    _restore(algo, tensors, path)
    algo.set_grad_step(description["grad_step"])
    return algo


def _read(
    path: PathLike, with_tensors: bool
) -> tuple[dict[str, Any], dict[str, torch.Tensor]]:
    from safetensors import SafetensorError, safe_open

    check_path("path", path)
    if not pathlib.Path(path).exists():
        raise FileNotFoundError(f"no saved model at {path}")
    if not pathlib.Path(path).is_file():
        raise ArtefactError(f"{path} must be a file")
    try:
        with safe_open(os.fspath(path), framework="pt", device="cpu") as file:
            metadata = file.metadata() or {}
            names = file.keys() if with_tensors else ()
            tensors = {name: file.get_tensor(name) for name in names}
    except (SafetensorError, OSError, ValueError) as error:
        raise ArtefactError(f"{path} is not a safetensors file: {error}") from None
    if _KEY not in metadata:
        raise ArtefactError(f"{path} must have a description of {_KEY!r} in its header")
    return _parse(metadata[_KEY], str(path)), tensors


def _parse(text: str, name: str) -> dict[str, Any]:
    try:
        found = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise ArtefactError(f"{name}: the description is not JSON: {error}") from None
    if not isinstance(found, dict):
        raise ArtefactError(f"{name}: the description must be an object, got {found!r}")
    fields = {"format": int, "config": dict, "grad_step": int, "sha256": str}
    for field, kind in fields.items():
        if type(found.get(field)) is not kind:
            raise ArtefactError(
                f"{name}: {field} must be of type {kind.__name__}, got "
                f"{found.get(field)!r}"
            )
    if found["grad_step"] < 0:
        raise ArtefactError(
            f"{name}: grad_step must be at least 0, got {found['grad_step']}"
        )
    if found["format"] > _FORMAT:
        raise ArtefactError(
            f"{name}: format {found['format']} is newer than {_FORMAT}, the newest that "
            "this version of icac_algo knows; update it"
        )
    return found


def _is_model(path: pathlib.Path) -> bool:
    try:
        describe(path)
    except ArtefactError:
        return False
    return True


def _restore(algo: Any, tensors: dict[str, torch.Tensor], file: PathLike) -> None:
    expected = _tensors(algo)
    if expected.keys() != tensors.keys():
        odd = sorted(expected.keys() ^ tensors.keys())
        raise ArtefactError(f"{file} holds other tensors than the config asks for: {odd}")
    for name, value in tensors.items():
        if value.shape != expected[name].shape or value.dtype != expected[name].dtype:
            raise ArtefactError(
                f"{file}: {name} must be {expected[name].dtype} of shape "
                f"{tuple(expected[name].shape)}, got {value.dtype} of "
                f"{tuple(value.shape)}"
            )
        if value.is_floating_point() and not torch.isfinite(value).all():
            raise ArtefactError(f"{file}: {name} must be finite, got NaN or infinity")
    _networks(algo).load_state_dict(tensors)


def _networks(algo: Any) -> torch.nn.ModuleDict:
    return torch.nn.ModuleDict(algo.impl.modules.get_torch_modules())


def _tensors(algo: Any) -> dict[str, torch.Tensor]:
    # Copies: networks that share an encoder would otherwise share memory in the file.
    return {
        name: value.detach().cpu().contiguous().clone()
        for name, value in _networks(algo).state_dict().items()
    }


def _digest(tensors: dict[str, torch.Tensor]) -> str:
    """Of names, types, shapes and numbers."""
    digest = hashlib.sha256()
    for name, value in sorted(tensors.items()):
        digest.update(f"{name} {value.dtype} {tuple(value.shape)}\n".encode())
        digest.update(value.numpy().tobytes())
    return digest.hexdigest()


def _action_grid(algo: Any) -> list[float] | None:
    if algo.get_action_type() != ActionSpace.DISCRETE:
        return None
    constraint = getattr(algo.config, "constraint", None)
    size = algo.impl.action_size
    if constraint is None:
        return [float(i) for i in range(size)]
    return [float(p) for p in constraint.positions(size)]


def _versions() -> dict[str, str]:
    found = {}
    for name in _PACKAGES:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            found[name] = "not installed"
    return found


def _fingerprint(dataset: Any) -> dict[str, Any]:
    digest = hashlib.sha256()
    for name in ("observations", "actions", "rewards"):
        for block, _, _ in blocks(dataset, name):
            digest.update(block.astype(block.dtype.newbyteorder("<")).tobytes())
    return {
        "sha256": digest.hexdigest(),
        "transitions": int(dataset.transition_count),
        "episodes": len(dataset.episodes),
    }
