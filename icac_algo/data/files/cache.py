"""What was learned from a log's files, kept so that the log opens at once the next time.

An entry is a folder.  Its ``meta.json`` names the folder in it that holds the episodes,
and the values themselves if the files could not be mapped as they are.  It holds for as
long as the files it was made from have the same content; a broken one is none.
"""

from __future__ import annotations

import contextlib
import dataclasses
import errno
import functools
import hashlib
import json
import os
import pathlib
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from ..._util.files import collect, locked_folder, require_space, sync, write_whole
from ..columns import Array
from .folders import PathLike
from .mapping import Mapping
from .shards import Shard

#: Of what entries hold; entries of another format are never found.
FORMAT = 3

#: Arrays of an entry that say where episodes end.
EPISODES = ("ends", "terminated", "has_final")

_VALUES = "values-"
# Of the disk that the cache is on, not of the log's files.
_UNWRITABLE = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.ENOTDIR)


@dataclasses.dataclass(frozen=True)
class CacheEntry:
    """The folder of one log, of these files in order, in the cache; it may not exist."""

    folder: pathlib.Path
    files: Sequence[pathlib.Path]

    def load(self) -> tuple[dict[str, Any], dict[str, Array]] | None:
        """What the entry says of itself, and its arrays; ``None`` if it does not hold."""
        try:
            meta = _read_meta(self.folder)
            if not self._is_of_files(meta):
                return None
            values = self.folder / meta["values"]
            arrays = {
                name: np.load(values / f"{name}.npy", mmap_mode="r")
                for name in meta["arrays"]
            }
            is_whole = _described(arrays) == meta["arrays"]
        except Exception:  # A cache can be broken in every way.
            return None
        return (meta, arrays) if is_whole else None

    def _is_of_files(self, meta: dict[str, Any]) -> bool:
        """Whether the files are those that it was made from, touched or not."""
        known, now = meta["files"], [_stamp(path) for path in self.files]
        if [k["stamp"] for k in known] == now:
            return True
        # Touched or copied, but perhaps not changed.
        for old, path, stamp in zip(known, self.files, now, strict=True):
            if old["stamp"] == stamp:
                continue
            if "sha256" not in old or old["stamp"][0] != stamp[0]:
                return False
            if old["sha256"] != _digest(path):
                return False
            old["stamp"] = stamp
        with contextlib.suppress(OSError):
            _write_meta(self.folder, meta)
        return True

    @contextlib.contextmanager
    def replaced(
        self, digests: bool, size: int = 0
    ) -> Iterator[tuple[pathlib.Path, dict[str, Any]]]:
        """A new folder and its ``meta``, which become the entry if the block succeeds.

        The block puts arrays into ``meta["arrays"]`` that it saved as ``.npy``.
        ``digests``, one of every file, let the entry survive a change of their dates;
        ``size`` bytes must be free.
        """
        stamps = [_stamp(path) for path in self.files]
        meta: dict[str, Any] = {}
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            if size:
                require_space(self.folder, size, self.folder)
            with locked_folder(self.folder, _VALUES) as new:
                yield new, meta
                sync(new)
                meta["arrays"] = _described(meta["arrays"])
                meta["values"] = new.name
                meta["files"] = [
                    {"path": str(path), "stamp": stamp}
                    | ({"sha256": _digest(path)} if digests else {})
                    for path, stamp in zip(self.files, stamps, strict=True)
                ]
                if [_stamp(path) for path in self.files] != stamps:
                    raise ValueError("the files of the log changed while they were read")
                if self.load() is None:  # Another process may have been first.
                    _write_meta(self.folder, meta)
        except OSError as error:
            if error.errno not in _UNWRITABLE:
                raise
            text = f"{error.strerror} (set cache_folder or $ICAC_CACHE)"
            raise OSError(error.errno, text, str(self.folder)) from error
        finally:
            with contextlib.suppress(OSError):
                self.folder.rmdir()  # Empty, if this was the first attempt and failed.
        for entry in self.folder.parent.iterdir():
            collect(entry, _VALUES, functools.partial(_is_named, entry))


def cache_entry(
    files: Sequence[Shard], mapping: Mapping, folder: PathLike | None
) -> CacheEntry:
    """The entry of these files, read in this way."""
    paths = [file.path for file in files]
    read = [[str(file.path), file.keys] for file in files]
    key = json.dumps([FORMAT, dataclasses.asdict(mapping), read])
    name = hashlib.sha256(key.encode()).hexdigest()[:24]
    root = folder or os.environ.get("ICAC_CACHE")
    if root is None:
        caches = os.environ.get("XDG_CACHE_HOME") or pathlib.Path.home() / ".cache"
        root = pathlib.Path(caches) / "icac"
    return CacheEntry(pathlib.Path(root).expanduser() / "tables" / name, paths)


def _read_meta(folder: pathlib.Path) -> Any:
    meta = json.loads((folder / "meta.json").read_text())
    if meta.pop("sha256") != _checksum(meta):
        raise ValueError("it was changed")
    return meta


def _write_meta(folder: pathlib.Path, meta: dict[str, Any]) -> None:
    text = json.dumps({**meta, "sha256": _checksum(meta)})
    write_whole(folder / "meta.json", text.encode())


def _checksum(meta: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(meta, sort_keys=True).encode()).hexdigest()


def _is_named(folder: pathlib.Path, name: str) -> bool:
    """Whether an entry's arrays lie in its folder of this name."""
    try:
        return bool(_read_meta(folder)["values"] == name)
    except Exception:
        return False


def _described(arrays: dict[str, Array]) -> dict[str, list[Any]]:
    """Types and shapes of arrays, and a checksum of those that are read whole."""
    return {
        name: [
            array.dtype.str,
            list(array.shape),
            hashlib.sha256(array.tobytes()).hexdigest() if name in EPISODES else None,
        ]
        for name, array in arrays.items()
    }


def _stamp(path: pathlib.Path) -> list[int]:
    """Changes whenever a file's content does; the change time cannot be set back."""
    stat = path.stat()
    return [stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns, stat.st_ino]


def _digest(path: pathlib.Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(1 << 22):
            digest.update(block)
    return digest.hexdigest()
