"""Result files, written as a whole or not at all."""

from __future__ import annotations

import pathlib

from icac_algo._util.files import write_whole


def write_bytes(path: pathlib.Path, content: bytes) -> None:
    """Replaces a file; makes its folder."""
    path.parent.mkdir(parents=True, exist_ok=True)
    write_whole(path, content)


def write_text(path: pathlib.Path, text: str) -> None:
    write_bytes(path, text.encode())
