"""A dictionary whose values are computed when they are looked up."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

__all__ = ["LazyDict"]


class LazyDict(dict[str, Any]):
    """A real ``dict`` that computes each value once, on first use.

    Looking one key up computes that key alone; whatever looks at all of them
    (iteration, comparison, copying, pickling) computes what is missing first.

    Args:
        names: the keys, in order.
        compute: gives the value of a key.
    """

    # Every method that dict implements in C without asking __getitem__ is overridden:
    # to C code, a value not computed yet does not exist.

    __slots__ = ("_compute", "_names")

    def __init__(self, names: tuple[str, ...], compute: Callable[[str], Any]) -> None:
        self._names = names
        self._compute: Callable[[str], Any] | None = compute

    def __missing__(self, key: str) -> Any:
        if self._compute is None or key not in self._names:
            raise KeyError(key)
        value = self._compute(key)
        dict.__setitem__(self, key, value)
        return value

    def _full(self) -> LazyDict:
        if self._compute is not None:
            added = {k: v for k, v in dict.items(self) if k not in self._names}
            computed = {name: self[name] for name in self._names}
            # What the values are computed from is no longer needed.
            self._compute = None
            dict.clear(self)
            dict.update(self, computed, **added)
        return self

    def __contains__(self, key: object) -> bool:
        pending = self._compute is not None and key in self._names
        return pending or dict.__contains__(self, key)

    def get(self, key: str, default: Any = None) -> Any:
        return self[key] if key in self else default  # noqa: SIM401

    def __iter__(self) -> Iterator[str]:
        return dict.__iter__(self._full())

    def __reversed__(self) -> Iterator[str]:
        return dict.__reversed__(self._full())

    def __len__(self) -> int:
        return dict.__len__(self._full())

    def __repr__(self) -> str:
        return dict.__repr__(self._full())

    def keys(self) -> Any:
        return dict.keys(self._full())

    def values(self) -> Any:
        return dict.values(self._full())

    def items(self) -> Any:
        return dict.items(self._full())

    def copy(self) -> dict[str, Any]:
        return dict(self.items())

    def pop(self, *args: Any) -> Any:
        return dict.pop(self._full(), *args)

    def popitem(self) -> tuple[str, Any]:
        return dict.popitem(self._full())

    def setdefault(self, key: str, default: Any = None) -> Any:
        return dict.setdefault(self._full(), key, default)

    def clear(self) -> None:
        self._compute = None
        dict.clear(self)

    def __delitem__(self, key: str) -> None:
        dict.__delitem__(self._full(), key)

    def __eq__(self, other: object) -> bool:
        if isinstance(other, LazyDict):
            other._full()
        return dict.__eq__(self._full(), other)

    def __ne__(self, other: object) -> bool:
        return not self == other

    def __or__(self, other: Any) -> Any:
        return self.copy() | dict(other)

    def __ror__(self, other: Any) -> Any:
        return dict(other) | self.copy()

    def __reduce__(self) -> tuple[Any, ...]:
        # A copy or a pickle is a plain dict: it computes nothing later.
        return dict, (self.copy(),)
