"""One measurement of an experiment: what is run, and a name for all it depends on."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Mapping
from typing import Any

#: Part of every digest: raise it when training or measuring changes.
FORMAT = 3


@dataclasses.dataclass(frozen=True)
class Cell:
    """What to run; :meth:`of` makes one."""

    experiment: str  # the part of an experiment that it belongs to
    learner: str = ""  # what is trained or measured, as tables call it
    seed: int = 0  # draws the log and the training
    where: tuple[tuple[str, Any], ...] = ()  # all other coordinates, as sorted pairs
    #: JSON of what else the rows depend on; the engine fills it in.
    config: str = dataclasses.field(default="", repr=False)

    @classmethod
    def of(cls, experiment: str, learner: str = "", seed: int = 0, **where: Any) -> Cell:
        """A cell at named coordinates; mappings become sorted pairs."""
        pairs = sorted((name, _frozen(value)) for name, value in where.items())
        return cls(experiment, learner, seed, tuple(pairs))

    def __getitem__(self, name: str) -> Any:
        return dict(self.where)[name]

    @property
    def tuned(self) -> dict[str, Any]:
        """The hyperparameters in the coordinate ``tuned``, if it has any."""
        return dict(dict(self.where).get("tuned", ()))

    def depending_on(self, *things: Any) -> Cell:
        """The same cell; its digest depends on d3rlpy configs, dataclasses, JSON too."""
        text = json.dumps(things, sort_keys=True, default=_described)
        return dataclasses.replace(self, config=text)

    @property
    def digest(self) -> str:
        """A short name for all that its rows depend on."""
        settings = {"format": FORMAT, **dataclasses.asdict(self)}
        text = json.dumps(settings, sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:20]

    def __str__(self) -> str:
        words = [self.experiment, self.learner, f"seed {self.seed}"]
        words += [f"{name} {worded(value)}" for name, value in self.where if value != ()]
        return ", ".join(word for word in words if word)


def worded(value: Any) -> Any:
    """A coordinate as tables show it: pairs as ``name=value``, lists as words."""
    if not isinstance(value, tuple):
        return value
    words = ("=".join(map(_short, v)) if isinstance(v, tuple) else v for v in value)
    return " ".join(map(str, words))


def _short(value: Any) -> str:
    return f"{value:g}" if isinstance(value, (int, float)) else str(value)


def _frozen(value: Any) -> Any:
    if isinstance(value, Mapping):
        return tuple(sorted(value.items()))
    return tuple(value) if isinstance(value, list) else value


def _described(thing: Any) -> Any:
    if hasattr(thing, "serialize_to_dict"):
        return {"type": thing.get_type(), "params": thing.serialize_to_dict()}
    if dataclasses.is_dataclass(thing) and not isinstance(thing, type):
        fields = dataclasses.fields(thing)
        return {field.name: getattr(thing, field.name) for field in fields}
    return str(thing)
