"""Imports of packages that only some functions need."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from types import ModuleType
from typing import Any


@contextlib.contextmanager
def needed(package: str, extra: str) -> Iterator[None]:
    """Makes a failed import say how to install what is missing."""
    try:
        yield
    except ImportError as error:
        raise ImportError(
            f"this needs {package}: pip install 'bidclick-icac[{extra}]'"
        ) from error


def import_pyarrow() -> ModuleType:
    """pyarrow, or an error that says how to install it."""
    with needed("pyarrow", "tables"):
        import pyarrow
        import pyarrow.ipc
    return pyarrow


def quiet_gym_notice() -> None:
    """Keeps the unmaintained ``gym``, which d3rlpy imports, from printing its notice."""
    with contextlib.suppress(ImportError):
        from gym_notices import notices

        notices.notices.clear()


@contextlib.contextmanager
def progress_bar(show: bool, **options: Any) -> Iterator[Callable[[int], Any]]:
    """What moves a bar of tqdm on, or does nothing where there is none to be shown."""
    try:
        from tqdm.auto import tqdm
    except ImportError:
        yield lambda count: None
        return
    with tqdm(disable=not show, **options) as bar:
        yield bar.update
