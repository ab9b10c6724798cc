"""What was learned from a log's files, kept so that the log opens at once the next time.

An entry is a folder: ``meta.json``, the episodes, and the values themselves if the files
could not be mapped as they are.  It holds for as long as the files it was made from have
the same content.
"""

from __future__ import annotations

import contextlib
import dataclasses
import errno
import hashlib
import json
import os
import pathlib
from collections.abc import Iterator, Sequence
from typing import Any

from ..._util.files import replaced, require_space, write_whole
from .mapping import Mapping
from .shards import Shard

#: Of what entries hold; entries of another format are never found.
FORMAT = 2

# Of the disk that the cache is on, not of the log's files.
_UNWRITABLE = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.ENOTDIR)


@dataclasses.dataclass(frozen=True)
class CacheEntry:
    """The folder of one log, of these files in order, in the cache; it may not exist."""

    folder: pathlib.Path
    files: Sequence[pathlib.Path]

    def meta(self) -> dict[str, Any] | None:
        """What the entry says of itself; ``None`` if there is none that still holds."""
        try:
            meta = json.loads((self.folder / "meta.json").read_text())
        except (FileNotFoundError, json.JSONDecodeError):
            return None
        known, now = meta["files"], [_stamp(path) for path in self.files]
        if [k["stamp"] for k in known] == now:
            return meta
        # Touched or copied, but perhaps not changed.
        for old, path, stamp in zip(known, self.files, now, strict=True):
            if old["stamp"] == stamp:
                continue
            if "sha256" not in old or old["stamp"][0] != stamp[0]:
                return None
            if old["sha256"] != _digest(path):
                return None
            old["stamp"] = stamp
        with contextlib.suppress(OSError):
            write_whole(self.folder / "meta.json", json.dumps(meta).encode())
        return meta

    @contextlib.contextmanager
    def replaced(
        self, digests: bool, size: int = 0
    ) -> Iterator[tuple[pathlib.Path, dict[str, Any]]]:
        """A new folder and its ``meta``, which become the entry if the block succeeds.

        ``digests``, one of every file, let the entry survive a change of their dates;
        ``size`` bytes must be free.
        """
        stamps = [_stamp(path) for path in self.files]
        meta: dict[str, Any] = {}
        try:
            self.folder.parent.mkdir(parents=True, exist_ok=True)
            if size:
                require_space(self.folder.parent, size, self.folder)
            with replaced(self.folder) as new:
                new.mkdir()
                yield new, meta
                meta["files"] = [
                    {"path": str(path), "stamp": stamp}
                    | ({"sha256": _digest(path)} if digests else {})
                    for path, stamp in zip(self.files, stamps, strict=True)
                ]
                if [_stamp(path) for path in self.files] != stamps:
                    raise ValueError("the files of the log changed while they were read")
                (new / "meta.json").write_text(json.dumps(meta))
        except OSError as error:
            is_taken = error.errno in (errno.ENOTEMPTY, errno.EEXIST)
            if is_taken and (self.folder / "meta.json").exists():
                return  # Another process was first, with the same files.
            if error.errno not in _UNWRITABLE:
                raise
            text = f"{error.strerror} (set cache_folder or $ICAC_CACHE)"
            raise OSError(error.errno, text, str(self.folder)) from error


def cache_entry(
    files: Sequence[Shard], mapping: Mapping, folder: str | pathlib.Path | None
) -> CacheEntry:
    """The entry of these files, read in this way."""
    paths = [file.path for file in files]
    key = json.dumps([FORMAT, dataclasses.asdict(mapping), list(map(str, paths))])
    name = hashlib.sha256(key.encode()).hexdigest()[:24]
    root = folder or os.environ.get("ICAC_CACHE")
    if root is None:
        caches = os.environ.get("XDG_CACHE_HOME") or pathlib.Path.home() / ".cache"
        root = pathlib.Path(caches) / "icac"
    return CacheEntry(pathlib.Path(root) / "tables" / name, paths)


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
