"""Model files that are not what `save` writes, with the right checksum or without."""

from __future__ import annotations

import hashlib
import json
import pathlib
import struct
from collections.abc import Callable
from typing import Any

from safetensors.torch import load, save

MARK, BLANK = b'"icac_algo":"', "0" * 64


def seal(content: bytes) -> bytes:
    """The same file with the checksum that its bytes have, whatever stood there."""
    changed = bytearray(content)
    place = changed.index(MARK) + len(MARK)
    changed[place : place + 64] = BLANK.encode()
    digest = hashlib.sha256(changed).hexdigest()
    changed[place : place + 64] = digest.encode()
    return bytes(changed)


def parts(content: bytes) -> tuple[dict[str, Any], dict[str, Any], bytes]:
    """The header, the description in it, and the numbers."""
    (length,) = struct.unpack("<Q", content[:8])
    header = json.loads(content[8 : 8 + length])
    description = json.loads(header["__metadata__"]["icac_algo"][64:])
    return header, description, content[8 + length :]


def with_text(content: bytes, text: str) -> bytes:
    """With another description, sealed."""
    return seal(save(load(content), metadata={"icac_algo": BLANK + text}))


def with_description(content: bytes, change: Callable[[Any], Any]) -> bytes:
    """With fields of the description changed in place, sealed."""
    description = parts(content)[1]
    change(description)
    return with_text(content, json.dumps(description))


def with_tensors(content: bytes, change: Callable[[Any], Any]) -> bytes:
    """With tensors changed in place, sealed."""
    tensors = load(content)
    change(tensors)
    text = json.dumps(parts(content)[1])
    return seal(save(tensors, metadata={"icac_algo": BLANK + text}))


def with_header(content: bytes, change: Callable[[Any], Any]) -> bytes:
    """With the safetensors header changed in place, sealed, and no rule of it kept."""
    header, _, numbers = parts(content)
    change(header)
    text = json.dumps(header, separators=(",", ":")).encode()
    return seal(struct.pack("<Q", len(text)) + text + numbers)


def forge(path: pathlib.Path, how: Callable[..., bytes], *arguments: Any) -> None:
    """Changes a file in place."""
    path.write_bytes(how(path.read_bytes(), *arguments))
