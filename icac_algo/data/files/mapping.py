"""Which column of a table plays which part in a log."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Sequence
from typing import Any


@dataclasses.dataclass(frozen=True)
class Mapping:
    """Which column plays which part; fields as in ``from_parquet``."""

    observation: tuple[str, ...]
    action: tuple[str, ...]
    reward: str
    propensity: str | None = None
    extras: tuple[str, ...] = ()
    episode: str | None = None
    terminal: str | None = None
    timeout: str | None = None
    final: str | None = None

    @classmethod
    def of(
        cls,
        observation: str | Sequence[str],
        action: str | Sequence[str],
        extras: str | Sequence[str] = (),
        **others: Any,
    ) -> Mapping:
        """Checks the arguments of ``from_parquet``."""
        for name, given in others.items():
            needed = name == "reward"
            if not isinstance(given, str) and (needed or given is not None):
                raise ValueError(f"{name} must be a column name, got {given!r}")
        further = _column_names("extras", extras) if extras else ()
        if "propensity" in further:
            raise ValueError(
                "extras must not name 'propensity', which has an argument of its own, "
                f"got {extras!r}"
            )
        return cls(
            _column_names("observation", observation),
            _column_names("action", action),
            extras=further,
            **others,
        )

    @property
    def marks(self) -> dict[str, str]:
        """The columns that mark rows, by what they mark."""
        marks = {name: getattr(self, name) for name in ("terminal", "timeout", "final")}
        return {name: column for name, column in marks.items() if column is not None}

    @property
    def values(self) -> list[str]:
        """The columns that hold values."""
        return list(
            dict.fromkeys(name for names in self.parts.values() for name in names)
        )

    @property
    def parts(self) -> dict[str, Sequence[str]]:
        """The columns of a table that make up each column of the log.

        Extras are numbered: their names need not be names of files.
        """
        parts = {
            "observations": self.observation,
            "actions": self.action,
            "rewards": (self.reward,),
        }
        scalars = {f"extra_{i}": name for i, name in enumerate(self.extras)}
        if self.propensity is not None:
            scalars["propensity"] = self.propensity
        return {**parts, **{part: (name,) for part, name in scalars.items()}}

    @functools.cached_property
    def all(self) -> list[str]:
        """Every column, once."""
        ends = [] if self.episode is None else [self.episode]
        return list(dict.fromkeys([*self.values, *ends, *self.marks.values()]))


def _column_names(argument: str, given: str | Sequence[str]) -> tuple[str, ...]:
    names: tuple[str, ...] = (given,) if isinstance(given, str) else ()
    if isinstance(given, (list, tuple)):
        names = tuple(given)
    if not names or not all(isinstance(name, str) for name in names):
        raise ValueError(
            f"{argument} must be a column name or a list of them, got {given!r}"
        )
    if len(set(names)) < len(names):
        raise ValueError(f"{argument} names a column twice: {list(names)}")
    return names
