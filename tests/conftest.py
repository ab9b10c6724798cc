"""Fixtures for all tests."""

from __future__ import annotations

import collections
import itertools
import pathlib
from collections.abc import Iterator
from typing import Any

import pytest


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[Any]) -> None:
    """Marks what a covering array of a test's parameters can do without.

    ``covering(t)`` leaves a fast array of strength t; the rest is slow.  Of
    ``covering(t, u)`` only an array of strength u is slow; the rest is exhaustive.
    """
    products = collections.defaultdict(list)
    for item in items:
        if item.get_closest_marker("covering") is not None:
            products[item.nodeid.partition("[")[0]].append(item)
    for product in products.values():
        fast, *more = product[0].get_closest_marker("covering").args
        kept = _covering(product, fast)
        also_slow = _covering(product, more[0]) if more else set(range(len(product)))
        for i, item in enumerate(product):
            if i not in kept:
                mark = "slow" if i in also_slow else "exhaustive"
                item.add_marker(getattr(pytest.mark, mark))


def _covering(product: list[Any], strength: int) -> set[int]:
    """Numbers of items that have every combination of so many parameters' values."""
    tuples = [set(itertools.combinations(_values(item), strength)) for item in product]
    uncovered = set().union(*tuples)
    kept = set()
    while uncovered:
        best = max(range(len(product)), key=lambda i: len(tuples[i] & uncovered))
        uncovered -= tuples[best]
        kept.add(best)
    return kept


def _values(item: Any) -> list[tuple[str, int]]:
    """Names of parameters and which value each has: one object for all items."""
    return [(name, id(value)) for name, value in sorted(item.callspec.params.items())]


@pytest.fixture(scope="session", autouse=True)
def minari_folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[pathlib.Path]:
    """Keeps the datasets that tests make out of the user's own folder."""
    folder = tmp_path_factory.mktemp("minari")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MINARI_DATASETS_PATH", str(folder))
        yield folder


@pytest.fixture(autouse=True)
def working_folder(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> pathlib.Path:
    """Runs each test in a folder of its own, where d3rlpy may leave its logs."""
    monkeypatch.chdir(tmp_path)
    return tmp_path
