"""Which files make up a log: each once, in natural order, with their folders' keys."""

from __future__ import annotations

import os
import pathlib
import re
import stat
from collections.abc import Sequence
from typing import Any
from urllib.parse import unquote

from ..._util.checks import check_path

PARQUET = (".parquet", ".pq")
ARROW = (".arrow", ".feather", ".ipc")
CSV = (".csv", ".csv.gz", ".tsv", ".tsv.gz")
TABLES = (*PARQUET, *ARROW, *CSV)

PathLike = str | os.PathLike[str]
#: A file, and what its folders ``key=value`` say of its rows.
FoundFile = tuple[pathlib.Path, dict[str, str]]


def ends_with(path: pathlib.Path, endings: Sequence[str]) -> bool:
    """Whether a file has one of these endings, in whatever case."""
    return path.name.lower().endswith(tuple(endings))


def find_files(
    files: PathLike | Sequence[PathLike], part: tuple[int, int]
) -> list[FoundFile]:
    """The files of a log in order; arguments and errors as in ``from_parquet``."""
    given = [files] if isinstance(files, (str, os.PathLike)) else files
    if not isinstance(given, (list, tuple)):
        raise TypeError(f"files must be a path or a list of paths, got {files!r}")
    found: list[FoundFile] = []
    for name in given:
        check_path("files", name)
        path = pathlib.Path(name).expanduser().absolute()
        if path.is_dir():
            inside = _inside(path, {}, ())
            if not inside:
                raise FileNotFoundError(f"the folder {path} holds no {TABLES} file")
            found.extend(inside)
        elif not path.exists():
            raise FileNotFoundError(f"no such file or folder: {path}")
        elif not ends_with(path, TABLES):
            raise ValueError(f"a file must end with one of {TABLES}, got {path}")
        else:
            found.append((path, {}))
    if not found:
        raise ValueError(f"files must name at least one file, got {files!r}")
    _check_files([path for path, _ in found])
    pair = isinstance(part, (list, tuple)) and [type(n) for n in part] == [int, int]
    number, count = part if pair else (0, 0)
    if not 0 <= number < count <= len(found):
        raise ValueError(
            "part must be (i, n) with 0 <= i < n and n at most the number of files, "
            f"{len(found)}; got {part!r}"
        )
    return found[number::count]


def _inside(
    folder: pathlib.Path, keys: dict[str, str], above: tuple[pathlib.Path, ...]
) -> list[FoundFile]:
    """The tables in a folder and in its subfolders ``key=value``."""
    above = (*above, folder.resolve())
    if above[-1] in above[:-1]:
        raise ValueError(f"{folder} leads back to {above[-1]}, which it lies in")
    if (folder / "_delta_log").exists():
        raise ValueError(
            f"{folder} is a Delta table, not all of whose files are in force; write it "
            "as Parquet files first"
        )
    found: list[FoundFile] = []
    for path in sorted(folder.iterdir(), key=_natural):
        if path.name[0] in "._":
            continue
        key, equals, value = path.name.partition("=")
        if not path.is_dir():
            if ends_with(path, TABLES):
                found.append((path, keys))
        elif equals and key not in keys:
            found.extend(_inside(path, {**keys, key: unquote(value)}, above))
        elif ends_with(path, TABLES) or any(_tables_below(path)):
            raise ValueError(
                f"the folder {folder} must hold files, and folders named KEY=VALUE, got "
                f"the folder {path.name!r}, which holds tables; move it, or list what to "
                "read"
            )
    return found


def _natural(path: pathlib.Path) -> Any:
    """Sorts part-2 before part-10."""
    parts = re.split(r"(\d+)", path.name)
    return [int(p) if i % 2 else p for i, p in enumerate(parts)], path.name


def _tables_below(folder: pathlib.Path) -> Any:
    for _, _, names in os.walk(folder):
        yield from (name for name in names if ends_with(pathlib.Path(name), TABLES))


def _check_files(paths: Sequence[pathlib.Path]) -> None:
    """Each must be a regular file, and another one."""
    seen: dict[tuple[int, int], pathlib.Path] = {}
    for path in paths:
        found = path.stat()
        if not stat.S_ISREG(found.st_mode):
            raise ValueError(f"{path} must be a regular file, not a pipe or a device")
        other = seen.setdefault((found.st_dev, found.st_ino), path)
        if other is not path:
            raise ValueError(
                f"files must name each file once, got {other} and {path}, which are the "
                "same file"
            )
