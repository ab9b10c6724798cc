"""Imports of packages that only some functions need."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from types import ModuleType


def import_minari() -> ModuleType:
    """Minari, or an error that says how to install it."""
    with _needed("minari", "icac"):
        import minari
    return minari


def import_icac_algo() -> ModuleType:
    """icac_algo and with it d3rlpy, or an error that says how to install them."""
    with _needed("d3rlpy", "icac"):
        import icac_algo
    return icac_algo


def import_joblib() -> ModuleType:
    """joblib, or an error that says how to install it."""
    with _needed("joblib", "tables"):
        import joblib
    return joblib


def import_pyarrow() -> ModuleType:
    """pyarrow, or an error that says how to install it."""
    with _needed("pyarrow", "tables"):
        import pyarrow
        import pyarrow.ipc
    return pyarrow


@contextlib.contextmanager
def _needed(package: str, extra: str) -> Iterator[None]:
    try:
        yield
    except ImportError as error:
        raise ImportError(
            f"this needs {package}: pip install 'bidclick-icac[{extra}]'"
        ) from error


def quiet_gym_notice() -> None:
    """Keeps the unmaintained ``gym``, which d3rlpy imports, from printing its notice."""
    with contextlib.suppress(ImportError):
        from gym_notices import notices

        notices.notices.clear()
