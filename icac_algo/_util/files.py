"""Files that are written as a whole or not at all."""

from __future__ import annotations

import contextlib
import errno
import os
import pathlib
import shutil
import tempfile
from collections.abc import Iterator

__all__ = [
    "errors_that_name",
    "require_space",
    "reserve",
    "write_whole",
    "written_beside",
]


@contextlib.contextmanager
def written_beside(fname: str | os.PathLike[str]) -> Iterator[str]:
    """A temporary sibling of ``fname`` that replaces it if the block succeeds.

    Raises:
        OSError: it cannot be written; it names ``fname``, and what was there stays.
    """
    path = pathlib.Path(fname)
    with errors_that_name(path):
        if path.is_dir():
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
        handle, beside = tempfile.mkstemp(
            prefix=f".{path.stem}-", suffix=path.suffix, dir=path.parent
        )
        os.close(handle)
        try:
            yield beside
            umask = os.umask(0)
            os.umask(umask)
            os.chmod(beside, 0o666 & ~umask)
            os.replace(beside, path)
        finally:
            pathlib.Path(beside).unlink(missing_ok=True)


@contextlib.contextmanager
def errors_that_name(path: pathlib.Path) -> Iterator[None]:
    """Makes errors of writing name what was to be written.

    A full disk is told without a path, a temporary file by a name that nobody gave.
    """
    try:
        yield
    except OSError as error:
        if error.errno is None:
            raise OSError(f"{path} cannot be written: {error}") from error
        raise OSError(error.errno, os.strerror(error.errno), str(path)) from error


def write_whole(fname: str | os.PathLike[str], content: bytes) -> None:
    """Replaces a file by these bytes, as a whole or not at all.

    Where a library writes by itself, let it write to memory and write the bytes here:
    torch answers a full disk with a ``RuntimeError``, or by ending the process.
    """
    with written_beside(fname) as beside:
        pathlib.Path(beside).write_bytes(content)


def require_space(folder: pathlib.Path, size: int, path: pathlib.Path) -> None:
    """Refuses to start what will not fit; HDF5 ends the process on a full disk.

    Args:
        folder: on the disk that is meant; exists.
        size: bytes that are needed.
        path: what is to be written, for the message.

    Raises:
        OSError: the space is not there, or the folder cannot be written.
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
    """Gives an open file its space on disk, where the system can.

    Writing to a mapped file without it ends the process when the disk is full.

    Raises:
        OSError: the space is not there.
    """
    if hasattr(os, "posix_fallocate"):
        # Unlike a look at the free space, it also knows quotas.
        os.posix_fallocate(handle, 0, size)
