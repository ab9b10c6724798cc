"""Mini-batches as tensors, drawn and scaled many at a time."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import torch
from d3rlpy.base import LearnableConfig
from d3rlpy.dataset import ReplayBufferBase, TransitionMiniBatch
from d3rlpy.torch_utility import TorchMiniBatch

from ..data import ColumnarReplayBuffer, LoggedMiniBatch

# Beyond these, drawing a batch on its own costs no more, and needs less memory.
_MOST_BATCHES, _MOST_BYTES = 32, 2**22


@dataclasses.dataclass(frozen=True)
class TrainingBatch(TorchMiniBatch):
    """A batch of d3rlpy, scaled, that knows what was logged beside it.

    Args:
        column: from a name to that column's values at the first steps, float32 ``(B,)``.
        is_terminal: whether no transition is followed by another; an accelerator's
            tensors would have to be waited for.
        is_one_step: whether all reach one step ahead.
    """

    column: Callable[[str], torch.Tensor] | None = None
    is_terminal: bool = False
    is_one_step: bool = False


def training_batches(
    dataset: ReplayBufferBase,
    batch_size: int,
    count: int,
    config: LearnableConfig,
    device: str,
    is_watched: bool,
) -> Iterator[TrainingBatch]:
    """So many batches for the networks of a config, the same as drawn one at a time.

    What draws random numbers between two batches (``is_watched``) may share numpy's
    stream with a buffer without a seed: then none is drawn ahead.
    """
    ahead = _batches_ahead(dataset, batch_size, is_watched)
    while count > 0:
        drawn = min(ahead, count)
        block = dataset.sample_transition_batch(drawn * batch_size)
        tensors = to_torch_batch(block, config, device)
        yield from [tensors] if drawn == 1 else _split(tensors, batch_size)
        count -= drawn


def _batches_ahead(dataset: ReplayBufferBase, batch_size: int, is_watched: bool) -> int:
    if not isinstance(dataset, ColumnarReplayBuffer) or not dataset.draws_ahead:
        return 1
    if is_watched and dataset.random_state is None:
        return 1
    parts = dataset.dataset_info.observation_signature
    row = sum(
        int(np.prod(shape)) * np.dtype(kind).itemsize
        for shape, kind in zip(parts.shape, parts.dtype, strict=True)
    )
    return min(_MOST_BATCHES, max(1, _MOST_BYTES // (2 * row * batch_size)))


def _split(block: TrainingBatch, size: int) -> Iterator[TrainingBatch]:
    """One large batch as several."""
    names = (
        *("observations", "actions", "rewards", "next_observations"),
        *("next_actions", "returns_to_go", "terminals", "intervals"),
    )
    parts = [_parts(getattr(block, name), size) for name in names]
    column, columns = block.column, None
    if column is not None:
        # Looked up once for all of them.
        columns = functools.cache(lambda name: column(name).split(size))
    numpy_batch = block.numpy_batch
    assert numpy_batch is not None
    terminal = numpy_batch.terminals.reshape(-1, size).all(axis=1).tolist()
    for number, tensors in enumerate(zip(*parts, strict=True)):
        yield TrainingBatch(
            *tensors,
            device=block.device,
            column=columns and functools.partial(_part_of, columns, number),
            is_terminal=terminal[number],
            is_one_step=block.is_one_step,
        )


def _parts(values: Any, size: int) -> Sequence[Any]:
    """Rows by batches, of a tensor or of each of several."""
    if isinstance(values, (list, tuple)):
        return [list(one) for one in zip(*[_parts(v, size) for v in values], strict=True)]
    parts: Sequence[Any] = values.split(size)
    return parts


def _part_of(
    columns: Callable[[str], Sequence[torch.Tensor]], number: int, name: str
) -> torch.Tensor:
    return columns(name)[number]


def to_torch_batch(
    batch: TransitionMiniBatch, config: LearnableConfig, device: str
) -> TrainingBatch:
    """What d3rlpy's ``TorchMiniBatch.from_batch`` makes, sharing memory on the CPU."""

    is_cpu = torch.device(device).type == "cpu"

    def tensor(array: Any) -> Any:
        if isinstance(array, (list, tuple)):
            return [tensor(part) for part in array]
        # A tensor over read-only memory would be written to behind numpy's back.
        values = torch.from_numpy(array if array.flags.writeable else np.array(array))
        # To "cpu:0", as d3rlpy says, torch would copy.
        return values if is_cpu else values.to(device)

    observations = tensor(batch.observations)
    next_observations = tensor(batch.next_observations)
    actions, next_actions = tensor(batch.actions), tensor(batch.next_actions)
    rewards = tensor(batch.rewards)
    if config.observation_scaler:
        observations = config.observation_scaler.transform(observations)
        next_observations = config.observation_scaler.transform(next_observations)
    if config.action_scaler:
        actions = config.action_scaler.transform(actions)
        next_actions = config.action_scaler.transform(next_actions)
    if config.reward_scaler:
        rewards = config.reward_scaler.transform(rewards)

    def column(name: str) -> torch.Tensor:
        assert isinstance(batch, LoggedMiniBatch)
        found: torch.Tensor = tensor(batch.extra(name).astype(np.float32))
        return found

    return TrainingBatch(
        observations=observations,
        actions=actions,
        rewards=rewards,
        next_observations=next_observations,
        next_actions=next_actions,
        # None of our algorithms reads them.
        returns_to_go=rewards,
        terminals=tensor(batch.terminals),
        intervals=tensor(batch.intervals),
        device=device,
        numpy_batch=batch,
        column=column if isinstance(batch, LoggedMiniBatch) else None,
        is_terminal=bool(batch.terminals.all()),
        is_one_step=bool((batch.intervals == 1.0).all()),
    )
