"""Result files, written beside and renamed so that a half-written one never exists."""

from __future__ import annotations

import contextlib
import csv
import io
import os
import pathlib
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["read_rows", "write_bytes", "write_png", "write_rows", "write_text"]


def read_rows(path: pathlib.Path) -> list[dict[str, Any]]:
    """Rows of a CSV file: numbers where they are numbers, ``None`` where empty."""
    with path.open(newline="") as file:
        return [{k: _value(v) for k, v in row.items()} for row in csv.DictReader(file)]


def _value(text: str) -> str | float | None:
    if text == "":
        return None
    try:
        return float(text)
    except ValueError:
        return text


def write_bytes(path: pathlib.Path, content: bytes) -> None:
    """Replaces a file as a whole or not at all; makes its folder.

    Raises:
        OSError: it cannot be written; it names ``path``, and what was there stays.
    """
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


def write_png(path: pathlib.Path, figure: Figure, dpi: int = 100) -> None:
    """Replaces a picture as a whole."""
    buffer = io.BytesIO()
    # Without the program's version: the same figure gives the same bytes.
    figure.savefig(buffer, format="png", dpi=dpi, metadata={"Software": None})
    write_bytes(path, buffer.getvalue())


def write_text(path: pathlib.Path, text: str) -> None:
    """Replaces a text file as a whole."""
    write_bytes(path, text.encode())


def write_rows(
    path: pathlib.Path, columns: Sequence[str], rows: Iterable[Mapping[str, object]]
) -> None:
    """Replaces a CSV file as a whole; ``None`` becomes an empty field."""
    buffer = io.StringIO()
    writer = csv.DictWriter(buffer, columns, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    write_text(path, buffer.getvalue())
