"""Imports of packages that only some functions need."""

from __future__ import annotations

import contextlib
import importlib
from typing import Any


def import_optional(package: str, extra: str, module: str | None = None) -> Any:
    """A module of a package (of its name), or an error that says how to install it."""
    try:
        return importlib.import_module(module or package)
    except ImportError as error:
        raise ImportError(
            f"this needs {package}: pip install 'bidclick-icac[{extra}]'"
        ) from error


def import_pyarrow() -> Any:
    """pyarrow with its files of record batches."""
    import_optional("pyarrow", "tables", "pyarrow.ipc")
    return import_optional("pyarrow", "tables")


def quiet_gym_notice() -> None:
    """Keeps the unmaintained ``gym``, which d3rlpy imports, from printing its notice."""
    with contextlib.suppress(ImportError):
        from gym_notices import notices

        notices.notices.clear()
