"""The dictionary behind a batch's information: a ``dict`` in everything but time."""

from __future__ import annotations

import copy
import json
import pickle
from collections.abc import Callable
from typing import Any

import pytest

from bidclick_gym.envs._lazy import LazyDict

FULL = {"a": 1, "b": 2, "c": 3}


@pytest.fixture
def computed() -> list[str]:
    return []


@pytest.fixture
def lazy(computed: list[str]) -> LazyDict:
    def compute(name: str) -> int:
        computed.append(name)
        return FULL[name]

    return LazyDict(tuple(FULL), compute)


def test_a_key_is_computed_on_its_own_and_once(
    lazy: LazyDict, computed: list[str]
) -> None:
    assert "b" in lazy
    assert "z" not in lazy
    assert computed == []
    assert (lazy["b"], lazy["b"], lazy.get("b"), lazy.get("z", 9)) == (2, 2, 2, 9)
    assert computed == ["b"]
    with pytest.raises(KeyError, match="z"):
        lazy["z"]
    assert lazy == FULL
    assert sorted(computed) == ["a", "b", "c"]


@pytest.mark.parametrize(
    "whole",
    [
        dict,
        lambda d: {**d},
        lambda d: d.copy(),
        lambda d: d | {},
        lambda d: {} | d,
        copy.copy,
        copy.deepcopy,
        lambda d: pickle.loads(pickle.dumps(d)),
        lambda d: json.loads(json.dumps(d)),
        lambda d: dict(d.items()),
        lambda d: dict(zip(d.keys(), d.values(), strict=True)),
        lambda d: {k: d[k] for k in d},
        lambda d: dict(reversed(list(reversed(d.items())))),
        lambda d: {k: d[k] for k in reversed(list(reversed(d)))},
        lambda d: eval(repr(d)),
        lambda d: (lambda **named: named)(**d),
        lambda d: {k: d.pop(k) for k in ("a", "b", "c")},
        lambda d: {k: d.setdefault(k, 9) for k in ("a", "b", "c")},
        lambda d: dict([d.popitem() for _ in range(3)][::-1]),
    ],
)
def test_every_way_of_reading_all_of_it_sees_all_of_it(
    lazy: LazyDict, whole: Callable[[LazyDict], Any]
) -> None:
    assert isinstance(lazy, dict)
    assert lazy["b"] == 2
    read = whole(lazy)
    assert type(read) is dict
    assert read == FULL
    assert list(read) == ["a", "b", "c"]


def test_size_truth_and_comparison_count_what_is_not_computed_yet() -> None:
    def made() -> LazyDict:
        return LazyDict(tuple(FULL), FULL.__getitem__)

    assert len(made()) == 3
    assert bool(made()) is True
    assert made() == made()
    assert made() == FULL
    for other in (made(), FULL):
        assert (other == made()) is True
        assert (other != made()) is False
    assert made() != {"a": 1}


def test_what_is_written_stays_written(lazy: LazyDict) -> None:
    lazy["b"] = 20
    lazy["new"] = 4
    lazy.update(c=30)
    lazy |= {"newer": 5}
    expected: dict[str, Any] = {"a": 1, "b": 20, "c": 30, "new": 4, "newer": 5}
    assert lazy == expected
    del lazy["a"]
    assert "a" not in lazy
    lazy.clear()
    assert lazy == {}
    assert "c" not in lazy
