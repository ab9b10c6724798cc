"""What was learned from a log's files, kept so that the log opens at once the next time.

An entry is a folder: ``meta.json``, the episodes, and the values themselves if the files
could not be mapped as they are.  It is made beside and renamed, and holds for as long as
the files it was made from have the same content.
"""

from __future__ import annotations

import contextlib
import dataclasses
import errno
import hashlib
import json
import os
import pathlib
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from typing import Any

from ..._util.files import write_whole
from .table_files import Mapping, TableFile

__all__ = ["CacheEntry", "cache_entry"]

FORMAT = 1

# Of the disk that the cache is on, not of the log's files.
_UNWRITABLE = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.ENOTDIR)


@dataclasses.dataclass(frozen=True)
class CacheEntry:
    """The place of one log in the cache.

    Args:
        folder: where the entry is, or would be.
        files: the log's files, in order.
        mapping: which column is what.
    """

    folder: pathlib.Path
    files: Sequence[pathlib.Path]
    mapping: Mapping

    def meta(self) -> dict[str, Any] | None:
        """What the entry says of itself; ``None`` if there is none that still holds."""
        try:
            meta = json.loads((self.folder / "meta.json").read_text())
        except (FileNotFoundError, json.JSONDecodeError):
            return None
        if meta["format"] != FORMAT:
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
    def replaced(self, digests: bool) -> Iterator[tuple[pathlib.Path, dict[str, Any]]]:
        """A new folder and its ``meta``, which become the entry if the block succeeds.

        Args:
            digests: keep a digest of every file, by which the entry survives a change
                of their dates.
        """
        stamps = [_stamp(path) for path in self.files]
        beside = None
        meta: dict[str, Any] = {"format": FORMAT}
        try:
            self.folder.parent.mkdir(parents=True, exist_ok=True)
            beside = pathlib.Path(
                tempfile.mkdtemp(prefix=".incomplete-", dir=self.folder.parent)
            )
            yield beside, meta
            meta["files"] = [
                {"path": str(path), "stamp": stamp}
                | ({"sha256": _digest(path)} if digests else {})
                for path, stamp in zip(self.files, stamps, strict=True)
            ]
            if [_stamp(path) for path in self.files] != stamps:
                raise ValueError("the files of the log changed while they were read")
            (beside / "meta.json").write_text(json.dumps(meta))
            self._put(beside)
        except OSError as error:
            if error.errno not in _UNWRITABLE:
                raise
            text = f"{os.strerror(error.errno)} (set cache_folder or $ICAC_CACHE)"
            raise OSError(error.errno, text, str(self.folder)) from error
        finally:
            if beside is not None:
                shutil.rmtree(beside, ignore_errors=True)

    def _put(self, beside: pathlib.Path) -> None:
        # A folder cannot replace another at once; whoever has the old one mapped keeps
        # it until they let go.
        old = beside.with_name(beside.name + "-old")
        with contextlib.suppress(FileNotFoundError):
            os.rename(self.folder, old)
        try:
            os.rename(beside, self.folder)
        except OSError:
            # Another process was first, with the same files.
            if not (self.folder / "meta.json").exists():
                with contextlib.suppress(OSError):
                    os.rename(old, self.folder)
                raise
        shutil.rmtree(old, ignore_errors=True)

    def check_space(self, needed: int) -> None:
        """Refuses to start what will not fit.

        Raises:
            OSError: fewer than ``needed`` bytes are free.
        """
        self.folder.parent.mkdir(parents=True, exist_ok=True)
        free = shutil.disk_usage(self.folder.parent).free
        if needed > free:
            raise OSError(
                f"converting the log takes {needed / 1e9:.1f} GB, {self.folder.parent} "
                f"has {free / 1e9:.1f} GB left; set cache_folder or $ICAC_CACHE"
            )


def cache_entry(
    files: Sequence[TableFile], mapping: Mapping, folder: str | pathlib.Path | None
) -> CacheEntry:
    """The entry of these files, read in this way."""
    paths = [file.path for file in files]
    key = json.dumps([dataclasses.asdict(mapping), [str(path) for path in paths]])
    name = hashlib.sha256(key.encode()).hexdigest()[:24]
    root = pathlib.Path(folder) if folder is not None else _default_folder()
    return CacheEntry(root / "tables" / name, paths, mapping)


def _default_folder() -> pathlib.Path:
    if "ICAC_CACHE" in os.environ:
        return pathlib.Path(os.environ["ICAC_CACHE"])
    caches = os.environ.get("XDG_CACHE_HOME") or pathlib.Path.home() / ".cache"
    return pathlib.Path(caches) / "icac"


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
