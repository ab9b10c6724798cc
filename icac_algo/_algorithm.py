"""What all our discrete algorithms share: checks at the door, safe files, export."""

from __future__ import annotations

import contextlib
import math
import os
import pathlib
import tempfile
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Generic, TypeVar

import numpy as np
import torch
from d3rlpy.algos import QLearningAlgoBase
from d3rlpy.algos.qlearning.base import QLearningAlgoImplBase
from d3rlpy.algos.utility import build_scalers_with_transition_picker
from d3rlpy.base import LearnableConfig
from d3rlpy.constants import ActionSpace
from d3rlpy.dataset import EpisodeBase, ReplayBufferBase
from d3rlpy.models.torch import CategoricalPolicy
from d3rlpy.types import TorchObservation
from torch import nn

from .export import save_greedy_policy

__all__ = [
    "ActorCriticImpl",
    "DiscreteAlgorithm",
    "check_choice",
    "check_count",
    "check_number",
    "written_beside",
]

_EPISODES_AT_ONCE = 10_000

TImpl = TypeVar("TImpl", bound=QLearningAlgoImplBase)
TConfig = TypeVar("TConfig", bound=LearnableConfig)


class ActorCriticImpl(QLearningAlgoImplBase):
    """What d3rlpy's copying and sampling need of a categorical actor and its critics."""

    _modules: Any

    def inner_sample_action(self, x: TorchObservation) -> torch.Tensor:
        return self._modules.policy(x).sample()

    @property
    def policy(self) -> CategoricalPolicy:
        return self._modules.policy

    @property
    def policy_optim(self) -> torch.optim.Optimizer:
        return self._modules.actor_optim.optim

    @property
    def q_function(self) -> nn.ModuleList:
        return self._modules.q_funcs

    @property
    def q_function_optim(self) -> torch.optim.Optimizer:
        return self._modules.critic_optim.optim


class DiscreteAlgorithm(QLearningAlgoBase[TImpl, TConfig], Generic[TImpl, TConfig]):
    """A d3rlpy algorithm for discrete actions that checks its data and writes safely."""

    def check_dataset(self, dataset: ReplayBufferBase) -> None:
        """Refuses data that cannot be learned from.

        Raises:
            ValueError: the dataset is empty, its actions are continuous or out of
                range, or an observation or reward is NaN or infinite.
        """
        name = type(self).__name__
        info = dataset.dataset_info
        if info.action_space != ActionSpace.DISCRETE:
            raise ValueError(
                f"{name} needs discrete actions (indices), got continuous ones; "
                "if they are a few repeated numbers, log their index instead"
            )
        if dataset.transition_count == 0:
            raise ValueError(f"{name} needs a dataset with transitions, got an empty one")
        episodes = dataset.episodes
        allowed = f"actions must be from 0 to {info.action_size - 1}"

        def is_no_action(array: Any) -> Any:
            return (array < 0) | (array >= info.action_size)

        for start in range(0, len(episodes), _EPISODES_AT_ONCE):
            some = episodes[start : start + _EPISODES_AT_ONCE]
            rewards = [e.rewards for e in some]
            _refuse("rewards must be finite", rewards, _is_not_finite, start)
            for part in _observation_parts(some):
                _refuse("observations must be finite", part, _is_not_finite, start)
            _refuse(allowed, [e.actions for e in some], is_no_action, start)

    def build_scalers(self, dataset: ReplayBufferBase) -> None:
        """Fits the scalers that are not fitted yet."""
        build_scalers_with_transition_picker(self, dataset)

    def check_exportable(self) -> None:
        """Refuses a policy that no fixed graph can express.

        Raises:
            ValueError: it is one.
        """

    def save(self, fname: str) -> None:
        """As d3rlpy's, but an interrupted write leaves the old file as it was."""
        with written_beside(fname) as beside:
            super().save(beside)

    def save_model(self, fname: str) -> None:
        """As d3rlpy's, but an interrupted write leaves the old file as it was."""
        with written_beside(fname) as beside:
            super().save_model(beside)

    def save_policy(self, fname: str) -> None:
        """Saves the greedy policy as TorchScript (``.pt``) or ONNX (``.onnx``).

        Unlike d3rlpy's, the ONNX file takes any batch size and its writing works with
        current torch; it needs the packages ``onnx`` and ``onnxscript``.

        Args:
            fname: destination; the extension decides the format.

        Raises:
            ValueError: another extension, or a critic that has no closed form.
            ImportError: ONNX's packages are missing.
        """
        assert self._impl is not None, "build or fit the algorithm before saving it"
        if pathlib.Path(fname).suffix not in (".pt", ".onnx"):
            raise ValueError(f"fname must end with .pt or .onnx, got {fname!r}")
        self.check_exportable()
        with written_beside(fname) as beside:
            save_greedy_policy(self, beside)


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


def _observation_parts(episodes: Sequence[EpisodeBase]) -> list[list[Any]]:
    first = episodes[0].observations
    if not isinstance(first, (list, tuple)):
        return [[e.observations for e in episodes]]
    return [[e.observations[i] for e in episodes] for i in range(len(first))]


def _is_not_finite(array: Any) -> Any:
    return ~np.isfinite(array)


def _refuse(
    requirement: str,
    arrays: Sequence[Any],
    is_bad: Callable[[Any], Any],
    first_episode: int,
) -> None:
    """Looks at many episodes at once, and one by one only to name the bad one."""
    if not is_bad(np.concatenate(arrays)).any():
        return
    for index, array in enumerate(arrays, first_episode):
        bad = np.asarray(array)[is_bad(np.asarray(array))]
        if bad.size:
            raise ValueError(f"{requirement}, episode {index} has {bad[0]}")


# -- config fields -----------------------------------------------------------


def check_number(
    name: str,
    value: Any,
    above: float = -math.inf,
    at_least: float = -math.inf,
    below: float = math.inf,
    at_most: float = math.inf,
) -> None:
    """Refuses a field that is not a finite number within bounds.

    Raises:
        ValueError: with the field's name, what it was given and what is allowed.
    """
    number = isinstance(value, (int, float)) and not isinstance(value, bool)
    inside = number and math.isfinite(value)
    if not (inside and above < value < below and at_least <= value <= at_most):
        bounds = [
            f"{word} {bound:g}"
            for word, bound in (
                (">", above),
                (">=", at_least),
                ("<", below),
                ("<=", at_most),
            )
            if math.isfinite(bound)
        ]
        raise ValueError(f"{name} must be a number {' and '.join(bounds)}, got {value!r}")


def check_count(name: str, value: Any) -> None:
    """Refuses a field that is not an integer of at least 1.

    Raises:
        ValueError: with the field's name and what it was given.
    """
    integer = isinstance(value, (int, np.integer)) and not isinstance(value, bool)
    if not integer or value < 1:
        raise ValueError(f"{name} must be an integer >= 1, got {value!r}")


def check_choice(name: str, value: Any, allowed: tuple[str, ...]) -> None:
    """Refuses a field that is not one of a few names.

    Raises:
        ValueError: with the field's name, what it was given and what is allowed.
    """
    if value not in allowed:
        raise ValueError(f"{name} must be one of {allowed}, got {value!r}")
