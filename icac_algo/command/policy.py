"""A learned policy as a folder: the model, how records become features, the units."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import math
import pathlib
from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt

from ..export import load, save, versions
from .log import Actions
from .preparation import Preparation

FloatArray = npt.NDArray[np.float64]

MODEL, DESCRIPTION, GRAPH = "model.safetensors", "policy.json", "policy.onnx"
_FORMAT = 1


@dataclasses.dataclass(frozen=True)
class Policy:
    """A trained algorithm that is asked in columns and answers in units of its action."""

    algo: Any
    preparation: Preparation
    space: Actions

    def __call__(self, observations: npt.NDArray[np.float32]) -> FloatArray:
        """The greedy action of each observation, in its own units, ``(N,)``."""
        chosen = np.asarray(self.algo.predict(observations)).reshape(-1)
        if self.space.levels is None:
            return chosen.astype(np.float64)
        return np.asarray(self.space.levels)[chosen]

    def values(
        self, observations: npt.NDArray[np.float32], actions: FloatArray
    ) -> FloatArray:
        """The mean reward that it expects of actions in their own units, ``(N,)``."""
        asked: Any = actions[:, None].astype(np.float32)
        if self.space.levels is not None:
            asked = self.space.nearest(actions)
        return np.asarray(self.algo.predict_value(observations, asked), np.float64)

    def decide(self, record: Any) -> dict[str, float]:
        """The action for one record of JSON, and the reward that is expected of it."""
        observation = self.preparation.observation(record)
        action = self(observation)
        expected = float(self.values(observation, action)[0])
        if not math.isfinite(expected):
            raise ValueError(f"{record} is too far from the log for a finite answer")
        return {self.space.column: float(action[0]), "expected_reward": expected}

    def save(self, folder: pathlib.Path) -> None:
        """Writes the files of a policy into a folder that exists; ONNX if it can."""
        save(self.algo, folder / MODEL)
        self._save_graph(folder / GRAPH)
        description = {
            "format": _FORMAT,
            "preparation": self.preparation.to_json(),
            "actions": dataclasses.asdict(self.space),
            "versions": versions(),
        }
        description["sha256"] = _seal(description, folder / MODEL)
        text = json.dumps(description, indent=1, allow_nan=False)
        (folder / DESCRIPTION).write_text(text + "\n", "utf-8")

    def _save_graph(self, path: pathlib.Path) -> None:
        from ..export import save_graph

        try:
            save_graph(self.algo, path, self.preparation.features, self.space.column)
        except ImportError:
            # Only those who serve without torch need it.
            return

    @classmethod
    def load(cls, folder: str) -> Policy:
        """From a folder of :meth:`save`; nothing in it is executed."""
        place = pathlib.Path(folder)
        try:
            text = (place / DESCRIPTION).read_text("utf-8")
            found = json.loads(text)
            if found["format"] != _FORMAT:
                raise ValueError(f"it has format {found['format']!r}, not {_FORMAT}")
            space: dict[str, Any] = {
                name: tuple(one) if isinstance(one, list) else one
                for name, one in found["actions"].items()
            }
            preparation = Preparation.from_json(found["preparation"])
            algo = load(place / MODEL)
            if found.pop("sha256", None) != _seal(found, place / MODEL):
                raise ValueError(
                    f"{DESCRIPTION} or {MODEL} was changed after it was made"
                )
            policy = cls(algo, preparation, Actions(**space))
            size = len(preparation.features)
        except (
            OSError, KeyError, TypeError, AttributeError, ValueError, RecursionError
        ) as error:  # fmt: skip
            said = f"{type(error).__name__}: {error}"
            raise ValueError(f"{folder} is no folder of a policy: {said}") from None
        if tuple(algo.observation_shape) != (size,):
            raise ValueError(
                f"{folder} is no folder of a policy: its model observes "
                f"{algo.observation_shape}, its preparation gives {size} features"
            )
        return policy


def _seal(description: dict[str, Any], model: pathlib.Path) -> str:
    """Of a description and its model, so that neither is used with another."""
    text = json.dumps(description, sort_keys=True)
    return hashlib.sha256(text.encode() + model.read_bytes()).hexdigest()


def records(lines: Iterator[str]) -> Iterator[tuple[int, Any]]:
    """Numbers, from 1, and objects of lines of JSON; a name twice is refused."""

    def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        found = dict(pairs)
        if len(found) != len(pairs):
            names = [name for name, _ in pairs]
            twice = next(name for name in names if names.count(name) > 1)
            raise ValueError(f"{twice} is given twice")
        return found

    number = 0
    while True:
        number += 1
        try:
            # Reading it may also fail: bytes that are no text.
            if not (line := next(lines, "")):
                return
            if line.strip():
                yield number, json.loads(line, object_pairs_hook=unique)
        except (ValueError, RecursionError) as error:
            raise ValueError(f"record {number} is not JSON: {error}") from None
