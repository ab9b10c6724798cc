"""Files that are written as a whole or not at all."""

from __future__ import annotations

import contextlib
import os
import pathlib
import tempfile
from collections.abc import Iterator

__all__ = ["written_beside"]


@contextlib.contextmanager
def written_beside(fname: str | os.PathLike[str]) -> Iterator[str]:
    """A temporary sibling of ``fname`` that replaces it if the block succeeds."""
    path = pathlib.Path(fname)
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
    except BaseException:
        pathlib.Path(beside).unlink(missing_ok=True)
        raise
