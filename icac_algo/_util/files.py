"""Files and folders that are written as a whole or not at all."""

from __future__ import annotations

import contextlib
import errno
import os
import pathlib
import shutil
import tempfile
from collections.abc import Iterator


@contextlib.contextmanager
def replaced(path: pathlib.Path) -> Iterator[pathlib.Path]:
    """Where to write a file or folder that takes ``path``'s place if the block succeeds.

    It lies in a hidden folder beside ``path``; what was at ``path`` stays if anything
    fails.
    """
    place = pathlib.Path(tempfile.mkdtemp(prefix=f".{path.name}-", dir=path.parent))
    new, old = place / path.name, place / f"{path.name}-old"
    try:
        yield new
        if new.is_dir():
            # A folder cannot replace a folder at once: the old one steps aside.
            with contextlib.suppress(FileNotFoundError):
                os.rename(path, old)
        try:
            os.replace(new, path)
        except BaseException:
            with contextlib.suppress(OSError):
                os.rename(old, path)
            raise
    finally:
        shutil.rmtree(place, ignore_errors=True)


@contextlib.contextmanager
def written_beside(fname: str | os.PathLike[str]) -> Iterator[str]:
    """The name of a file that replaces ``fname`` if the block succeeds."""
    path = pathlib.Path(fname)
    try:
        if path.is_dir():
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
        with replaced(path) as new:
            yield str(new)
    except OSError as error:
        # It names the temporary file, or none at all.
        if error.errno is None:
            raise OSError(f"{path} cannot be written: {error}") from error
        raise OSError(error.errno, os.strerror(error.errno), str(path)) from error


def write_whole(fname: str | os.PathLike[str], content: bytes) -> None:
    """Replaces a file by these bytes.

    Where a library writes by itself, let it write to memory and write the bytes here:
    torch answers a full disk with a ``RuntimeError``, or by ending the process.
    """
    with written_beside(fname) as new:
        pathlib.Path(new).write_bytes(content)


def require_space(folder: pathlib.Path, size: int, path: pathlib.Path) -> None:
    """Raises ``OSError`` if ``size`` bytes for ``path`` do not fit on ``folder``'s disk.

    HDF5, and writing to mapped files, end the process on a full disk.
    """
    try:
        with tempfile.TemporaryFile(dir=folder) as file:
            if shutil.disk_usage(folder).free < size:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            reserve(file.fileno(), size)
    except OSError as error:
        text = f"{os.strerror(error.errno or 0)} ({size / 1e6:.1f} MB are needed)"
        raise OSError(error.errno, text, str(path)) from error


def reserve(handle: int, size: int) -> None:
    """Gives an open file its space on disk, where the system can."""
    if hasattr(os, "posix_fallocate"):
        # Unlike a look at the free space, it also knows quotas.
        os.posix_fallocate(handle, 0, size)
