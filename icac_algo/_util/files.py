"""Files and folders that are written as a whole or not at all."""

from __future__ import annotations

import contextlib
import errno
import os
import pathlib
import secrets
import shutil
import tempfile
from collections.abc import Callable, Iterator

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]


# Of the hidden folders in which something is written before it takes its place.
_HIDDEN = ".icac-"


@contextlib.contextmanager
def replaced(path: pathlib.Path) -> Iterator[pathlib.Path]:
    """Where to write a file or folder that takes ``path``'s place if the block succeeds.

    It lies in a hidden folder beside ``path``; what was at ``path`` stays if anything
    fails, or if the process is killed.  Hidden folders of killed processes are deleted.

    A folder takes the place of none or of an empty one: ``OSError`` otherwise.
    """
    with locked_folder(path.parent, _HIDDEN) as place:
        new = place / path.name
        yield new
        sync(new)
        os.replace(new, path)
    _delete(place)
    collect(path.parent, _HIDDEN)


@contextlib.contextmanager
def locked_folder(parent: pathlib.Path, prefix: str) -> Iterator[pathlib.Path]:
    """A new folder that :func:`collect` leaves alone while the block runs.

    It holds a lock file of its own name.  It is deleted if the block fails, and stays if
    it succeeds.
    """
    with contextlib.ExitStack() as stack:
        while True:
            folder = parent / f"{prefix}{secrets.token_hex(6)}"
            folder.mkdir()
            try:
                lock = stack.enter_context((folder / folder.name).open("wb"))
            except FileNotFoundError:
                continue  # Collected in between, as the folder was empty.
            except BaseException:
                folder.rmdir()
                raise
            if fcntl is not None:
                with contextlib.suppress(OSError):  # Not every file system has locks.
                    fcntl.flock(lock, fcntl.LOCK_EX)
            if (folder / folder.name).exists():
                break
        try:
            yield folder
        except BaseException:
            _delete(folder)
            raise


def collect(
    parent: pathlib.Path, prefix: str, is_kept: Callable[[str], bool] = lambda _: False
) -> None:
    """Deletes every :func:`locked_folder` that no block still writes nor ``is_kept``.

    ``is_kept`` is asked by name, once it is sure that the block is over.
    """
    if fcntl is None:
        return
    with contextlib.suppress(OSError):
        names = [e.name for e in os.scandir(parent) if e.name.startswith(prefix)]
        for folder in (parent / name for name in names):
            with contextlib.suppress(OSError):
                if not (folder / folder.name).exists():
                    folder.rmdir()  # If empty: its process was killed before it had one.
                with (folder / folder.name).open("rb+") as lock:
                    fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    if not is_kept(folder.name):
                        _delete(folder)


def _delete(folder: pathlib.Path) -> None:
    """Deletes a :func:`locked_folder`, its lock last, so that it may be killed at it."""
    with contextlib.suppress(OSError):
        for inside in folder.iterdir():
            if inside.is_dir():
                shutil.rmtree(inside)
            elif inside.name != folder.name:
                inside.unlink()
        shutil.rmtree(folder)


def sync(path: pathlib.Path) -> None:
    """Waits until a file, or every file of a folder, is on the disk."""
    for file in path.rglob("*") if path.is_dir() else [path]:
        if file.is_file():
            with file.open("rb+") as opened:
                os.fsync(opened.fileno())


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
