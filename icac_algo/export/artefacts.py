"""``save`` and ``load``: a folder of numbers and JSON, written whole or not at all."""

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

from .._util.checks import check_built, check_flag, check_path
from .._util.files import errors_that_name, replaced
from ..data import blocks
from .manifest import MANIFEST, WEIGHTS, ArtefactError, Manifest, sha256_of

__all__ = ["load", "save"]

PathLike = str | os.PathLike[str]
_PACKAGES = ("bidclick-icac", "d3rlpy", "torch", "numpy", "safetensors")


def save(
    algo: Any, path: PathLike, dataset: Any = None, overwrite: bool = False
) -> pathlib.Path:
    """Writes a model as a folder: ``weights.safetensors`` and ``manifest.json``.

    Holds what predicting needs, networks and fitted scalers, not the optimizers
    (:func:`icac_algo.save_checkpoint` keeps those).

    Args:
        algo: a built or fitted d3rlpy algorithm, ours or its own.
        path: the folder; its parent must exist.
        dataset: what it was trained on, for a fingerprint; a replay buffer.
        overwrite: whether a saved model that is there may be replaced.

    Returns:
        the folder.

    Raises:
        ValueError: the algorithm is not built.
        FileNotFoundError: the parent folder does not exist.
        FileExistsError: there is something at ``path`` that may not be replaced.
        OSError: it cannot be written; what was there stays.
    """
    from safetensors.torch import save as serialize

    check_path("path", path)
    check_flag("overwrite", overwrite)
    if dataset is not None and not isinstance(dataset, ReplayBufferBase):
        raise TypeError(
            f"dataset must be a d3rlpy replay buffer, got {type(dataset).__name__}"
        )
    check_built(algo)
    path = pathlib.Path(path)
    if not path.absolute().parent.is_dir():
        raise FileNotFoundError(f"path must be in a folder that exists, got {path}")
    if path.exists() and not (overwrite and (path / MANIFEST).is_file()):
        allowed = "overwrite=True replaces a saved model"
        raise FileExistsError(f"path must not exist yet ({allowed}), got {path}")
    shaped = LearnableConfigWithShape(
        algo.impl.observation_shape, algo.impl.action_size, algo.config
    )
    with errors_that_name(path), replaced(path) as folder:
        folder.mkdir()
        weights = folder / WEIGHTS
        # In memory first: safetensors answers a full disk with an error of its own.
        weights.write_bytes(serialize(_tensors(algo)))
        manifest = Manifest(
            config=json.loads(shaped.serialize()),
            action_grid=_action_grid(algo),
            grad_step=int(algo.grad_step),
            versions=_versions(),
            data=None if dataset is None else _fingerprint(dataset),
            weights_sha256=sha256_of(weights),
            weights_bytes=weights.stat().st_size,
        )
        (folder / MANIFEST).write_text(manifest.to_json())
    return path


def load(path: PathLike, device: DeviceArg = None) -> Any:
    """The model of :func:`save`, ready to predict; nothing in the folder is executed.

    Args:
        path: the folder.
        device: as in ``create``.

    Raises:
        FileNotFoundError: there is no manifest or no weights.
        ArtefactError: the manifest is malformed, newer or names other files, the weights
            are truncated, changed or of another model, or the config is unknown.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    check_path("path", path)
    folder = pathlib.Path(path)
    manifest = Manifest.read(folder)
    weights = folder / WEIGHTS
    if not weights.exists():
        raise FileNotFoundError(f"{weights} is missing")
    if not weights.is_file() or weights.is_symlink():
        raise ArtefactError(f"{weights} must be a plain file")
    size = weights.stat().st_size
    if size != manifest.weights_bytes:
        raise ArtefactError(
            f"{weights} must have {manifest.weights_bytes} bytes, got {size}: it was "
            "truncated or replaced"
        )
    digest = sha256_of(weights)
    if digest != manifest.weights_sha256:
        raise ArtefactError(
            f"{weights} must have the checksum {manifest.weights_sha256}, got {digest}: "
            "it was changed after it was saved"
        )
    try:
        tensors = load_file(str(weights), device="cpu")
    except (SafetensorError, OSError, ValueError) as error:
        raise ArtefactError(f"{weights} is not a safetensors file: {error}") from None
    try:
        shaped = LearnableConfigWithShape.deserialize(json.dumps(manifest.config))
        algo: Any = shaped.config.create(device)
        algo.create_impl(shaped.observation_shape, shaped.action_size)
    except Exception as error:
        raise ArtefactError(
            f"{folder / MANIFEST}: config is not one that this version can build: {error}"
        ) from error
    _restore(algo, tensors, weights)
    algo.set_grad_step(manifest.grad_step)
    return algo


def _modules(algo: Any) -> dict[str, torch.nn.Module]:
    found = algo.impl.modules.get_torch_modules()
    return dict(sorted(found.items()))


def _tensors(algo: Any) -> dict[str, torch.Tensor]:
    # Copies: networks that share an encoder would otherwise share memory in the file.
    return {
        f"{name}.{key}": value.detach().cpu().contiguous().clone()
        for name, module in _modules(algo).items()
        for key, value in module.state_dict().items()
    }


def _restore(algo: Any, tensors: dict[str, torch.Tensor], file: pathlib.Path) -> None:
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
    for name, module in _modules(algo).items():
        state = {
            key.removeprefix(f"{name}."): value
            for key, value in tensors.items()
            if key.startswith(f"{name}.")
        }
        module.load_state_dict(state)


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
        for _, _, block in blocks(dataset, name):
            digest.update(block.astype(block.dtype.newbyteorder("<")).tobytes())
    return {
        "sha256": digest.hexdigest(),
        "transitions": int(dataset.transition_count),
        "episodes": len(dataset.episodes),
    }
