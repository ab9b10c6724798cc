"""Result files, written beside and renamed so that a half-written one never exists."""

from __future__ import annotations

import contextlib
import os
import pathlib


def write_bytes(path: pathlib.Path, content: bytes) -> None:
    """Replaces a file as a whole or not at all; makes its folder."""
    beside = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        beside.write_bytes(content)
        os.replace(beside, path)
    except OSError as error:
        # A full disk is told without a path, a temporary file by a name nobody gave.
        if error.errno is None:
            raise OSError(f"{path} cannot be written: {error}") from error
        raise OSError(error.errno, os.strerror(error.errno), str(path)) from error
    finally:
        with contextlib.suppress(OSError):
            beside.unlink()


def write_text(path: pathlib.Path, text: str) -> None:
    write_bytes(path, text.encode())
