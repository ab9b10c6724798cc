"""The training loop: d3rlpy's ``fitter``, without what it does between two updates.

The stock loop averages every loss since the epoch began at every tenth step, so that a
step grows slower with the epoch's length, and cannot go on where it was interrupted.
Logs, callbacks, evaluators and saved models are the same.
"""

from __future__ import annotations

import dataclasses
import functools
import math
import os
import pathlib
import time
from collections.abc import Callable, Generator, Iterator, Mapping
from typing import Any

import torch
import torch.distributed
from d3rlpy.algos.utility import assert_action_space_with_dataset
from d3rlpy.base import save_config
from d3rlpy.constants import LoggingStrategy
from d3rlpy.dataset import ReplayBufferBase
from d3rlpy.logging import (
    LOG,
    D3RLPyLogger,
    FileAdapterFactory,
    LoggerAdapterFactory,
)
from tqdm.auto import tqdm

from .._util.checks import check_path, is_integer
from ..critics import DivergenceError, refuse_diverged_networks
from ..data import fingerprint
from .checkpoints import Progress, restore_checkpoint, training_state, write_checkpoint
from .processes import is_distributed

Callback = Callable[[Any, int, int], None]


@dataclasses.dataclass(frozen=True)
class FitOptions:
    """What ``fit`` takes beside the dataset; d3rlpy's arguments, and ``checkpoint``."""

    n_steps: int
    n_steps_per_epoch: int = 10000
    logging_steps: int = 500
    logging_strategy: LoggingStrategy = LoggingStrategy.EPOCH
    experiment_name: str | None = None
    with_timestamp: bool = True
    logger_adapter: LoggerAdapterFactory = dataclasses.field(
        default_factory=FileAdapterFactory
    )
    show_progress: bool = True
    save_interval: int = 1
    evaluators: dict[str, Any] | None = None
    callback: Callback | None = None
    epoch_callback: Callback | None = None
    checkpoint: str | os.PathLike[str] | None = None

    def __post_init__(self) -> None:
        # No steps at all builds the networks, as in d3rlpy.
        for name, least in (
            ("n_steps", 0),
            ("n_steps_per_epoch", 1),
            ("logging_steps", 1),
            ("save_interval", 1),
        ):
            value = getattr(self, name)
            if not is_integer(value) or value < least:
                raise ValueError(f"{name} must be an integer >= {least}, got {value!r}")
            object.__setattr__(self, name, int(value))
        if self.checkpoint is not None:
            check_path("checkpoint", self.checkpoint)
            file = pathlib.Path(self.checkpoint)
            # Its folder is made when it is written; a file cannot become one.
            over = next((p for p in file.parents if p.exists()), file.parent)
            if file.is_dir() or not over.is_dir():
                raise ValueError(
                    f"checkpoint must be a file in a folder, got {self.checkpoint!r}"
                )
        for name in ("callback", "epoch_callback"):
            given = getattr(self, name)
            if given is not None and not callable(given):
                raise ValueError(f"{name} must be a function, got {given!r}")
        if self.evaluators is not None and not (
            isinstance(self.evaluators, Mapping)
            and all(callable(evaluator) for evaluator in self.evaluators.values())
        ):
            raise ValueError(
                f"evaluators must map names to evaluators, got {self.evaluators!r}"
            )

    def epochs(self, done: Progress) -> Iterator[tuple[int, int]]:
        """Number and length of the epochs that are left; the last may be shorter."""
        starts = range(done.step, self.n_steps, self.n_steps_per_epoch)
        for epoch, start in enumerate(starts, done.epoch + 1):
            yield epoch, min(self.n_steps_per_epoch, self.n_steps - start)


def train(
    algo: Any, dataset: ReplayBufferBase, options: FitOptions
) -> Generator[tuple[int, dict[str, float]], None, None]:
    """Trains a checked algorithm, an epoch for each value that is asked for."""
    LOG.info("dataset info", dataset_info=dataset.dataset_info)
    assert_action_space_with_dataset(algo, dataset.dataset_info)
    if algo.impl is None:
        info = dataset.dataset_info
        shape = info.observation_signature.shape
        algo.create_impl(shape[0] if len(shape) == 1 else shape, info.action_size)
    else:
        LOG.warning("Skip building models since they're already built.")
    progress, data = Progress(), ""
    if options.checkpoint is not None:
        # Before an epoch is spent on what cannot be written.
        training_state(algo)
        data = fingerprint(dataset)
    if options.checkpoint is not None and pathlib.Path(options.checkpoint).exists():
        progress = restore_checkpoint(algo, options.checkpoint, dataset, data)
        LOG.info("Resumed", checkpoint=str(options.checkpoint), **vars(progress))
    logger = D3RLPyLogger(
        algo=algo,
        adapter_factory=options.logger_adapter,
        experiment_name=options.experiment_name or type(algo).__name__,
        n_steps_per_epoch=options.n_steps_per_epoch,
        with_timestamp=options.with_timestamp,
    )
    save_config(algo, logger)
    guard = _DivergenceGuard()
    for epoch, length in options.epochs(progress):
        metrics = _epoch(algo, dataset, options, logger, guard, epoch, length, progress)
        reached = Progress(epoch, progress.step + length)
        networks = algo.impl.modules.get_torch_modules()
        refuse_diverged_networks(networks, reached.step, _saved(options, progress))
        progress = reached
        if options.epoch_callback:
            options.epoch_callback(algo, epoch, progress.step)
        for name, evaluator in (options.evaluators or {}).items():
            logger.add_metric(name, evaluator(algo, dataset))
        if options.logging_strategy == LoggingStrategy.EPOCH:
            metrics = logger.commit(epoch, progress.step)
        if epoch % options.save_interval == 0:
            logger.save_model(progress.step, algo)
        if options.checkpoint is not None:
            write_checkpoint(algo, options.checkpoint, dataset, progress, data)
        yield epoch, metrics
    logger.close()


def _epoch(
    algo: Any,
    dataset: ReplayBufferBase,
    options: FitOptions,
    logger: D3RLPyLogger,
    guard: _DivergenceGuard,
    epoch: int,
    length: int,
    progress: Progress,
) -> dict[str, float]:
    """One epoch of updates; the last metrics that were committed by step."""
    left = options.n_steps - progress.step
    total = progress.epoch + -(-left // options.n_steps_per_epoch)
    metrics: dict[str, float] = {}
    sums: dict[str, float] = {}
    clock = time.perf_counter
    by_steps = options.logging_strategy == LoggingStrategy.STEPS
    saved = functools.partial(_saved, options, progress)
    with tqdm(
        total=length, disable=not options.show_progress, desc=f"Epoch {epoch}/{total}"
    ) as bar:
        batches = algo.batches(dataset, length, is_watched=options.callback is not None)
        for step in range(1, length + 1):
            started = clock()
            batch = next(batches)
            sampled = clock()
            loss = _update(algo, batch, options, progress)
            updated = clock()
            logger.add_metric("time_sample_batch", sampled - started)
            logger.add_metric("time_algorithm_update", updated - sampled)
            total_step = progress.step + step
            guard.check(loss, total_step, saved)
            for name, value in loss.items():
                logger.add_metric(name, value)
                sums[name] = sums.get(name, 0.0) + value
            logger.add_metric("time_step", clock() - started)
            if options.show_progress and bar.update(1):
                bar.set_postfix({k: v / step for k, v in sums.items()}, refresh=False)
            if by_steps and total_step % options.logging_steps == 0:
                metrics = logger.commit(epoch, total_step)
            if options.callback:
                options.callback(algo, epoch, total_step)
    return metrics


def _update(
    algo: Any, batch: Any, options: FitOptions, progress: Progress
) -> dict[str, float]:
    try:
        return dict(algo.update(batch))
    except RuntimeError as error:
        if not _is_lost_process(error):
            raise
        rank, count = torch.distributed.get_rank(), torch.distributed.get_world_size()
        saved = _saved(options, progress)
        if options.checkpoint is not None and progress.step:
            saved += "; start all processes again to continue from it"
        raise RuntimeError(
            f"process {rank} of {count} has lost another process of this run: {saved}"
        ) from error


def _saved(options: FitOptions, progress: Progress) -> str:
    """Where the last good state of a run is, in words."""
    if options.checkpoint is None or not progress.step:
        return "there is no checkpoint to continue from (fit(checkpoint=...) keeps one)"
    return f"the last checkpoint, {options.checkpoint}, is of step {progress.step}"


def _is_lost_process(error: RuntimeError) -> bool:
    if not is_distributed():
        return False
    # Gloo raises plain RuntimeErrors.
    words = ("gloo", "nccl", "connection", "timed out", "peer")
    lost = any(word in str(error).lower() for word in words)
    return lost or isinstance(error, torch.distributed.DistError)


# -- divergence ---------------------------------------------------------------

# A loss that begins at zero, as without any reward yet, may become an ordinary one.
_SMALLEST_LOSS = 1e-4
_LARGEST_GROWTH = 1e9


class _DivergenceGuard:
    """Looks at what every update returns.

    Not every divergence ends in NaN: a critic that saturates may stay finite for ever.
    So a loss may not exceed its first value by a factor that no learning explains (values
    that grow a thousandfold make a squared loss grow a millionfold).
    """

    def __init__(self) -> None:
        self._first: dict[str, float] = {}

    def check(
        self, losses: Mapping[str, float], step: int, saved: Callable[[], str]
    ) -> None:
        """Raises if a loss or metric is NaN or infinite, or a loss has exploded."""
        for name, value in losses.items():
            exploded = False
            if name.endswith("_loss"):
                first = self._first.setdefault(name, max(abs(value), _SMALLEST_LOSS))
                exploded = abs(value) > _LARGEST_GROWTH * first
            if exploded or not math.isfinite(value):
                raise DivergenceError(name, value, step, saved())
