"""The file that models and checkpoints are written in: numbers and JSON, sealed.

A file is one of safetensors, whose header holds tensors' names and a text of ours: the
checksum of the whole file, then the description as JSON.  The checksum finds damage and
lone edits; it is no signature, so nothing in a file is trusted either: nothing is
executed, and no more is built than the file has numbers for.
"""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import importlib.metadata
import json
import math
import os
import pathlib
import threading
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import numpy as np
import torch
from d3rlpy.algos import QLearningAlgoBase
from d3rlpy.base import DeviceArg, LearnableConfigWithShape
from d3rlpy.torch_utility import unwrap_ddp_model
from torch import nn
from torch.nn.modules import module as torch_module

from .._util.checks import check_path
from .._util.fields import cast_fields
from .._util.files import write_whole
from .._util.precision import float32_by_default
from ..data import check_scaler

PathLike = str | os.PathLike[str]
Tensors = dict[str, torch.Tensor]

FORMAT = 1
_MARK = b'"icac_algo":"'
_BLANK = "0" * 64
_FIELDS = {"format": int, "kind": str, "config": dict, "grad_step": int, "versions": dict}
_PACKAGES = ("bidclick-icac", "d3rlpy", "torch", "numpy", "safetensors")
# A few bytes of header can ask for much memory and time; a real one has some kilobytes.
_LARGEST_HEADER = 4 * 2**20
_MOST_TENSORS = 10_000
# Sizes up to these may be said of any file, for not every one of them needs numbers.
_LARGEST_SMALL_OBSERVATION = 2**17
_LARGEST_SMALL_PART = 2**12


class ArtefactError(ValueError):
    """A model or checkpoint is not what it should be; nothing of it was loaded.

    Args:
        path: the file.
        reason: what is wrong with it.
    """

    def __init__(self, path: PathLike, reason: str):
        super().__init__(f"{path} {reason}")
        self.path, self.reason = path, reason


def describe_algorithm(algo: Any, kind: str) -> dict[str, Any]:
    """What a built algorithm is, beside its numbers, as JSON."""
    if not isinstance(algo, QLearningAlgoBase):
        raise TypeError(f"algo must learn Q-values, got {type(algo).__name__}")
    for name in ("observation_scaler", "action_scaler", "reward_scaler"):
        scaler = getattr(algo.config, name)
        if scaler is not None and not scaler.built:
            raise ValueError(f"{name} must be fitted before it is saved, got {scaler!r}")
    cast_fields(algo.config)
    shaped = LearnableConfigWithShape(
        algo.impl.observation_shape, int(algo.impl.action_size), algo.config
    )
    return {
        "format": FORMAT,
        "kind": kind,
        "config": json.loads(shaped.serialize()),
        "grad_step": int(algo.grad_step),
        "versions": versions(),
    }


def networks_of(algo: Any) -> nn.ModuleDict:
    """All networks of a built algorithm, without the wrappers of several processes.

    d3rlpy saves them so, but loads them into the wrappers, where names differ.
    """
    modules = algo.impl.modules.get_torch_modules()
    return nn.ModuleDict({k: unwrap_ddp_model(one) for k, one in modules.items()})


def tensors_of(algo: Any) -> Tensors:
    """The numbers of its networks; copies, for a shared encoder's share memory."""
    return {
        name: value.detach().cpu().contiguous().clone()
        for name, value in networks_of(algo).state_dict().items()
    }


def write_file(path: PathLike, description: Mapping[str, Any], tensors: Tensors) -> None:
    """Writes a description and tensors, as a whole or not at all."""
    from safetensors.torch import save as serialize

    for name, value in tensors.items():
        if not _is_finite(value):
            raise ValueError(
                f"{name} must be finite to be written to {path}, got NaN or infinity"
            )
    size = sum(value.numel() * value.element_size() for value in tensors.values())
    _check_sizes(description["config"], len(tensors), size)
    text = json.dumps(description, sort_keys=True, allow_nan=False)
    content = bytearray(serialize(tensors, metadata={"icac_algo": _BLANK + text}))
    if len(tensors) > _MOST_TENSORS or _header_size(content) > _LARGEST_HEADER:
        raise ValueError(
            f"{path} must have at most {_MOST_TENSORS} tensors and a description of "
            f"{_LARGEST_HEADER} bytes, got {len(tensors)} and {_header_size(content)}"
        )
    place = content.index(_MARK) + len(_MARK)
    content[place : place + len(_BLANK)] = hashlib.sha256(content).hexdigest().encode()
    write_whole(path, bytes(content))


@dataclasses.dataclass(frozen=True)
class ModelFile:
    """A file whose header is read; its checksum is compared when its tensors are."""

    path: PathLike
    description: dict[str, Any]
    # Type and shape of every tensor, and the bytes of all.
    layout: dict[str, tuple[str, tuple[int, ...]]]
    size: int
    header: bytes

    @classmethod
    def open(cls, path: PathLike, kind: str, fields: Iterable[str]) -> ModelFile:
        """Reads the header, whose description has ``fields`` beside those of all."""
        check_path("path", path)
        if not pathlib.Path(path).exists():
            raise FileNotFoundError(f"no saved {kind} at {path}")
        if not pathlib.Path(path).is_file():
            raise ArtefactError(path, "must be a file")
        with pathlib.Path(path).open("rb") as file:
            whole = os.fstat(file.fileno()).st_size
            length = int.from_bytes(file.read(8), "little")
            if not 0 < length <= min(whole - 8, _LARGEST_HEADER):
                raise ArtefactError(
                    path,
                    f"is not a safetensors file of ours: of its {whole} bytes the header "
                    f"claims {length}, at most {_LARGEST_HEADER} are allowed",
                )
            header = file.read(length)
        place = header.find(_MARK)
        if place < 0:
            raise ArtefactError(path, "must have a description of 'icac_algo'")
        entries = _parse(path, header)
        try:
            ((_, text),) = entries.pop("__metadata__").items()
            layout = {
                name: (found["dtype"], tuple(found["shape"]))
                for name, found in entries.items()
            }
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            raise ArtefactError(
                path, f"has a header of another form: {error!r}"
            ) from None
        description = _parse(path, text[len(_BLANK) :])
        _check_fields(path, description, kind, fields)
        if len(layout) > _MOST_TENSORS:
            raise ArtefactError(
                path, f"must have at most {_MOST_TENSORS} tensors, got {len(layout)}"
            )
        return cls(path, description, layout, whole - 8 - length, header)

    def build(self, device: DeviceArg, enable_ddp: bool = False) -> Any:
        """The algorithm of the description, with fresh networks."""
        config = self.description["config"]
        try:
            _check_sizes(config, len(self.layout), self.size)
            shaped = LearnableConfigWithShape.deserialize(json.dumps(config))
            for name, saved, known in differences(config, json.loads(shaped.serialize())):
                raise ValueError(f"{name} must be {known!r}, got {saved!r}")
            algo: Any = shaped.config.create(device, enable_ddp)
            if not isinstance(algo, QLearningAlgoBase):
                raise ValueError("it does not learn Q-values")
            if algo.observation_scaler:
                zeros = np.zeros((1, *shaped.observation_shape))
                check_scaler("observation_scaler", algo.observation_scaler, zeros)
            if algo.reward_scaler:
                check_scaler("reward_scaler", algo.reward_scaler, np.zeros((1, 1)))
            with float32_by_default(), _budget(len(self.layout), self.size):
                algo.create_impl(shaped.observation_shape, shaped.action_size)
        except Exception as error:
            reason = f"has a config that this version cannot build: {error!r}"
            raise ArtefactError(self.path, reason) from error
        algo.set_grad_step(self.description["grad_step"])
        return algo

    def read_into(self, algo: Any) -> Tensors:
        """Puts the file's numbers into the networks; returns them and all others.

        Types and shapes are compared before the numbers are read.
        """
        from safetensors.torch import _TYPES

        networks = networks_of(algo)
        expected = networks.state_dict()
        found = {k: v for k, v in self.layout.items() if not k.startswith("state/")}
        if expected.keys() != found.keys():
            odd = sorted(expected.keys() ^ found.keys())[:5]
            reason = f"holds other tensors than the config asks for: {odd}"
            raise ArtefactError(self.path, reason)
        for name, value in expected.items():
            dtype, shape = found[name]
            if shape != tuple(value.shape) or _TYPES.get(dtype) != value.dtype:
                raise ArtefactError(
                    self.path,
                    f"must have {name} of type {value.dtype} and shape "
                    f"{tuple(value.shape)}, got {dtype} and {shape}",
                )
        tensors = self.read()
        networks.load_state_dict({name: tensors[name] for name in expected})
        return tensors

    def read(self) -> Tensors:
        """All tensors, once the file's digest is that of when it was written."""
        from safetensors.torch import load as deserialize

        content = bytearray(pathlib.Path(self.path).read_bytes())
        if content[8 : 8 + len(self.header)] != self.header:
            raise ArtefactError(self.path, "was replaced while it was read")
        place = content.index(_MARK) + len(_MARK)
        end = place + len(_BLANK)
        given, content[place:end] = content[place:end], _BLANK.encode()
        digest = hashlib.sha256(content).hexdigest()
        if given.decode(errors="replace") != digest:
            raise ArtefactError(
                self.path, "was changed after it was written: its checksum is another"
            )
        try:
            tensors: Tensors = deserialize(bytes(content))
        except Exception as error:
            reason = f"is not a safetensors file: {error}"
            raise ArtefactError(self.path, reason) from error
        for name, value in tensors.items():
            if not _is_finite(value):
                reason = f"must have finite numbers in {name}, got NaN or infinity"
                raise ArtefactError(self.path, reason)
        return tensors


def _check_sizes(config: Any, tensors: int, size: int) -> None:
    """Refuses sizes that no networks of so many tensors and bytes can have."""
    params, shape = config["config"]["params"], config["observation_shape"]
    shapes = shape if isinstance(shape[0], list) else [shape]
    observation = max(math.prod(_numbers(one)) for one in shapes)
    parts = [
        part
        for name, part in params.items()
        if name.endswith(("encoder_factory", "q_func_factory", "critic"))
    ]
    several = 4 * tensors + config["action_size"] + _LARGEST_SMALL_PART
    for name, found, allowed in (
        ("action_size", config["action_size"], max(size, _LARGEST_SMALL_PART)),
        ("observation_shape", observation, max(size, _LARGEST_SMALL_OBSERVATION)),
        ("networks", max(_numbers(parts), default=0), max(size, _LARGEST_SMALL_PART)),
        ("lists", sum(1 for _ in _numbers(params)), several),
        ("scalers", sum(1 for _ in _numbers(params, True)), several + 8 * observation),
    ):
        if found > allowed:
            raise ValueError(
                f"{name} may ask for {allowed} where there are {tensors} tensors of "
                f"{size} bytes, got {found}"
            )


def differences(saved: Any, given: Any, path: str = "") -> Iterator[tuple[str, Any, Any]]:
    """Where two JSON values differ: the name, and what each has there."""
    if isinstance(saved, dict) and isinstance(given, dict):
        # The type first: what it is comes before how it is set.
        for key in sorted(saved.keys() | given.keys(), key=lambda k: (k != "type", k)):
            inner = f"{path}.{key}" if path else key
            yield from differences(saved.get(key), given.get(key), inner)
    elif type(saved) is not type(given) or saved != given:
        yield path.replace("config.params.", ""), saved, given


@contextlib.contextmanager
def _budget(tensors: int, size: int) -> Iterator[None]:
    """Stops the building of networks that a file of so many bytes cannot be of.

    What is registered is allocated but not yet written to, so it takes no memory.
    """
    # While they are built, networks are normalised (which registers every weight again
    # and again), shared and thrown away.
    count, numbers = 16 * tensors + 256, size + _LARGEST_SMALL_PART
    thread = threading.get_ident()

    def spend(module: nn.Module, name: str, value: torch.Tensor | None) -> None:
        nonlocal count, numbers
        if value is None or threading.get_ident() != thread:
            return
        count, numbers = count - 1, numbers - value.numel()
        if count < 0 or numbers < 0:
            raise ValueError("its networks are larger than the file")

    handles = (
        torch_module.register_module_parameter_registration_hook(spend),
        torch_module.register_module_buffer_registration_hook(spend),
    )
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def _parse(path: PathLike, text: Any) -> dict[str, Any]:
    def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        found = dict(pairs)
        if len(found) < len(pairs):
            raise ValueError(f"a name is given twice: {[name for name, _ in pairs][:9]}")
        return found

    def refuse(constant: str) -> None:
        raise ValueError(f"{constant} is no number of JSON")

    try:
        found = json.loads(text, object_pairs_hook=unique, parse_constant=refuse)
    except (TypeError, ValueError, RecursionError) as error:
        raise ArtefactError(
            path, f"has a description that is not JSON: {error}"
        ) from None
    if not isinstance(found, dict):
        raise ArtefactError(path, f"must have an object as description, got {found!r}")
    return found


def _check_fields(
    path: PathLike, description: Mapping[str, Any], kind: str, fields: Iterable[str]
) -> None:
    for field, type_of in _FIELDS.items():
        value = description.get(field)
        if type(value) is not type_of:
            reason = f"must have {field} of type {type_of.__name__}, got {value!r}"
            raise ArtefactError(path, reason)
    if description["format"] != FORMAT:
        raise ArtefactError(
            path,
            f"has format {description['format']}, this version of icac_algo knows "
            f"{FORMAT}",
        )
    if description["kind"] != kind:
        raise ArtefactError(path, f"must be a {kind}, got a {description['kind']}")
    if not 0 <= description["grad_step"] < 2**63:
        raise ArtefactError(path, "must have a grad_step from 0 to 2**63 - 1")
    odd = sorted(description.keys() ^ {*_FIELDS, *fields})
    if odd:
        raise ArtefactError(path, f"has fields unknown or missing: {odd}")


def _numbers(value: Any, scalers: bool = False) -> Iterator[float]:
    """All numbers in a JSON value, 0 for what else is there; scalers' only if asked."""
    if isinstance(value, dict):
        for name, one in value.items():
            if scalers or not name.endswith("_scaler"):
                yield from _numbers(one, scalers)
    elif isinstance(value, list):
        for one in value:
            yield from _numbers(one, scalers)
    else:
        yield value if isinstance(value, (int, float)) else 0


def _is_finite(value: torch.Tensor) -> bool:
    return not value.is_floating_point() or bool(torch.isfinite(value).all())


def _header_size(content: bytearray) -> int:
    return int.from_bytes(content[:8], "little")


def versions() -> dict[str, str]:
    """Of the packages that a model depends on."""
    found = {}
    for name in _PACKAGES:
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            found[name] = importlib.metadata.version(name)
    return found
