"""``manifest.json``: what a saved model is, checked before anything is believed."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import pathlib
import re
from typing import Any

__all__ = ["FORMAT", "MANIFEST", "WEIGHTS", "ArtefactError", "Manifest", "sha256_of"]

FORMAT = 1
KIND = "icac-model"
MANIFEST = "manifest.json"
WEIGHTS = "weights.safetensors"
_LARGEST = 1 << 20
_BLOCK = 1 << 20


class ArtefactError(ValueError):
    """A saved model is not what it should be; nothing of it was loaded."""


@dataclasses.dataclass(frozen=True)
class Manifest:
    """What stands beside the weights.

    Args:
        config: d3rlpy's JSON of config and shapes, as an object.
        action_grid: positions of the discrete actions; ``None`` for continuous ones.
        grad_step: gradient steps taken.
        versions: of the packages that wrote it, for people.
        data: fingerprint and size of the training data, or ``None``.
        weights_sha256: of the weights' bytes, lower-case hexadecimal.
        weights_bytes: their number.
    """

    config: dict[str, Any]
    action_grid: list[float] | None
    grad_step: int
    versions: dict[str, str]
    data: dict[str, Any] | None
    weights_sha256: str
    weights_bytes: int

    def to_json(self) -> str:
        """The file's text."""
        content = {
            "kind": KIND,
            "format": FORMAT,
            "config": self.config,
            "action_grid": self.action_grid,
            "grad_step": self.grad_step,
            "versions": self.versions,
            "data": self.data,
            "files": {
                WEIGHTS: {"sha256": self.weights_sha256, "bytes": self.weights_bytes}
            },
        }
        return json.dumps(content, indent=2, sort_keys=True, allow_nan=False) + "\n"

    @classmethod
    def read(cls, folder: pathlib.Path) -> Manifest:
        """Reads and checks ``manifest.json``; opens no other file.

        Raises:
            FileNotFoundError: there is none.
            ArtefactError: it is not a manifest of ours, is newer, or names other files.
        """
        path = folder / MANIFEST
        if not path.exists():
            raise FileNotFoundError(f"no saved model in {folder}: {MANIFEST} is missing")
        if not path.is_file() or path.is_symlink():
            raise ArtefactError(f"{path} must be a plain file")
        if path.stat().st_size > _LARGEST:
            raise ArtefactError(f"{path} must be below {_LARGEST} bytes")
        return cls.parse(path.read_bytes(), str(path))

    @classmethod
    def parse(cls, text: bytes, name: str = MANIFEST) -> Manifest:
        """A manifest from its bytes.

        Raises:
            ArtefactError: with the field that is wrong and what is allowed.
        """
        try:
            content = json.loads(text.decode("utf-8"))
        except (ValueError, RecursionError) as error:
            raise ArtefactError(f"{name} is not JSON: {error}") from None
        if not isinstance(content, dict) or content.get("kind") != KIND:
            raise ArtefactError(f"{name} must be a JSON object of kind {KIND!r}")
        version = content.get("format")
        if type(version) is not int or version < 1:
            raise ArtefactError(
                f"{name}: format must be an integer >= 1, got {version!r}"
            )
        if version > FORMAT:
            raise ArtefactError(
                f"{name}: format {version} is newer than {FORMAT}, the newest that this "
                "version of icac_algo knows; update it"
            )
        entry = _weights_entry(content.get("files"), name)
        return cls(
            config=_checked(content, "config", dict, name),
            action_grid=_grid(content.get("action_grid"), name),
            grad_step=_count(content.get("grad_step"), "grad_step", name),
            versions=_texts(content.get("versions"), name),
            data=None
            if content.get("data") is None
            else _checked(content, "data", dict, name),
            weights_sha256=entry["sha256"],
            weights_bytes=entry["bytes"],
        )


def sha256_of(path: pathlib.Path) -> str:
    """Digest of a file's bytes."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(_BLOCK):
            digest.update(block)
    return digest.hexdigest()


def _weights_entry(files: Any, name: str) -> dict[str, Any]:
    # A name that is looked up is never a path: there is one allowed name.
    if not isinstance(files, dict) or set(files) != {WEIGHTS}:
        given = sorted(files) if isinstance(files, dict) else files
        raise ArtefactError(
            f"{name}: files must name {WEIGHTS!r} and nothing else, got {given!r}"
        )
    entry = files[WEIGHTS]
    if not isinstance(entry, dict):
        raise ArtefactError(f"{name}: files must give sha256 and bytes, got {entry!r}")
    digest = entry.get("sha256")
    if not isinstance(digest, str) or not re.fullmatch("[0-9a-f]{64}", digest):
        raise ArtefactError(
            f"{name}: sha256 must be 64 hexadecimal digits, got {digest!r}"
        )
    return {"sha256": digest, "bytes": _count(entry.get("bytes"), "bytes", name)}


def _checked(content: dict[str, Any], field: str, kind: type, name: str) -> Any:
    value = content.get(field)
    if not isinstance(value, kind):
        raise ArtefactError(f"{name}: {field} must be an object, got {value!r}")
    return value


def _count(value: Any, field: str, name: str) -> int:
    if type(value) is not int or value < 0:
        raise ArtefactError(f"{name}: {field} must be an integer >= 0, got {value!r}")
    return value


def _grid(value: Any, name: str) -> list[float] | None:
    if value is None:
        return None
    numbers = isinstance(value, list) and all(type(v) in (int, float) for v in value)
    if not numbers:
        raise ArtefactError(f"{name}: action_grid must be numbers, got {value!r}")
    return [float(v) for v in value]


def _texts(value: Any, name: str) -> dict[str, str]:
    if not isinstance(value, dict) or not all(isinstance(v, str) for v in value.values()):
        raise ArtefactError(f"{name}: versions must be texts, got {value!r}")
    return dict(value)
