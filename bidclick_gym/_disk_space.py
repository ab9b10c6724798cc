"""Space on disk, asked for before a library that cannot do without it starts to write.

``icac_algo`` has the same function: neither package may need the other for its files.
"""

from __future__ import annotations

import errno
import os
import pathlib
import shutil
import tempfile

__all__ = ["require_space"]


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
            if hasattr(os, "posix_fallocate"):
                # Unlike a look at the free space, it also knows quotas.
                os.posix_fallocate(file.fileno(), 0, size)
    except OSError as error:
        text = f"{os.strerror(error.errno or 0)} ({size / 1e6:.1f} MB are needed)"
        raise OSError(error.errno, text, str(path)) from error
