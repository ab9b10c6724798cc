"""What all our discrete algorithms share: checks at the door, safe files, export."""

from __future__ import annotations

import copy
import dataclasses
import datetime
import functools
import io
import os
from collections.abc import Generator, Iterator
from typing import Any, Generic, Literal, TypeVar

import numpy as np
import torch
from d3rlpy.algos import QLearningAlgoBase
from d3rlpy.algos.qlearning.base import QLearningAlgoImplBase
from d3rlpy.algos.utility import build_scalers_with_transition_picker
from d3rlpy.base import LearnableConfig
from d3rlpy.dataset import ReplayBufferBase, TransitionMiniBatch
from d3rlpy.logging import LOG
from d3rlpy.models.torch import CategoricalPolicy
from d3rlpy.torch_utility import TorchMiniBatch
from d3rlpy.types import Shape, TorchObservation
from torch import nn

from .._util.checks import check_built
from .._util.files import write_whole, written_beside
from .._util.precision import float32_by_default
from ..data import check_dataset, check_scaler
from ..evidence import Stopping, choose_n_steps, trained_share
from ..export import save_greedy_policy
from .batches import to_torch_batch, training_batches
from .processes import agree_on_config
from .training import FitOptions, train

TImpl = TypeVar("TImpl", bound=QLearningAlgoImplBase)
TConfig = TypeVar("TConfig", bound=LearnableConfig)


class ActorCriticImpl(QLearningAlgoImplBase):
    """What d3rlpy's copying and sampling need of a categorical actor and its critics."""

    _modules: Any

    def inner_sample_action(self, x: TorchObservation) -> torch.Tensor:
        return self._modules.policy(x).sample()

    def probabilities(self, x: TorchObservation) -> torch.Tensor:
        """What ``sample_action`` draws from, ``(B, K)``."""
        return self._modules.policy(x).logits.softmax(dim=1)

    @property
    def policy(self) -> CategoricalPolicy:
        if self._modules.policy is None:
            raise NotImplementedError("the actor is the softmax of the critic's values")
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
        """Refuses data that cannot be learned from."""
        check_dataset(type(self).__name__, dataset)

    def create_impl(self, observation_shape: Shape, action_size: int) -> None:
        for name, shape in (("observation", observation_shape), ("reward", (1,))):
            scaler = getattr(self._config, f"{name}_scaler")
            # The parts of a tuple have scalers of their own.
            if scaler and scaler.built and isinstance(shape[0], (int, np.integer)):
                check_scaler(f"{name}_scaler", scaler, np.zeros((1, *shape)))
        with float32_by_default():
            super().create_impl(observation_shape, action_size)

    def fit(
        self,
        dataset: ReplayBufferBase,
        n_steps: int | Literal["auto"] = "auto",
        n_steps_per_epoch: int = 10000,
        **options: Any,
    ) -> list[tuple[int, dict[str, float]]]:
        """As d3rlpy's, with checkpoints, and without a step count if none is known.

        Args:
            dataset: what is learned from.
            n_steps: gradient steps; ``"auto"`` chooses how many by held-out losses, and
                settings that the config leaves open (:meth:`open_settings`) as well, then
                trains on all transitions; see :func:`icac_algo.choose_n_steps`.
            n_steps_per_epoch: as in d3rlpy.
            options: d3rlpy's; ``checkpoint``, a file to go on from; ``validation``, a
                share of the episodes or a buffer to choose the step count by, which is
                then at most ``n_steps``.

        Raises:
            TypeError: an argument is of another kind.
            ValueError: one is out of bounds, or the data cannot be learned from.
        """
        return list(self.fitter(dataset, n_steps, n_steps_per_epoch, **options))

    def fitter(
        self,
        dataset: ReplayBufferBase,
        n_steps: int | Literal["auto"] = "auto",
        n_steps_per_epoch: int = 10000,
        *,
        validation: float | ReplayBufferBase | None = None,
        **options: Any,
    ) -> Generator[tuple[int, dict[str, float]], None, None]:
        """As :meth:`fit`, an epoch at a time.

        Everything is checked here, before anything is built or logged.
        """
        if not isinstance(dataset, ReplayBufferBase):
            raise TypeError(
                f"dataset must be a d3rlpy replay buffer, got {type(dataset).__name__}"
            )
        most = None if n_steps == "auto" else n_steps
        chosen = FitOptions(0 if most is None else most, n_steps_per_epoch, **options)
        if most is None or validation is not None:
            found = self._choose(dataset, most, validation, chosen)
            chosen = dataclasses.replace(chosen, n_steps=found.n_steps)
        self.prepare(dataset)
        return train(self, dataset, chosen)

    def open_settings(
        self, dataset: ReplayBufferBase, share: float = 1.0
    ) -> dict[str, dict[str, Any]]:
        """Settings to choose among with the step count: fields of the config, by name.

        ``share`` of the dataset's transitions are those that the fields are for.
        """
        return {"as given": {}}

    def _choose(
        self,
        dataset: ReplayBufferBase,
        most: int | None,
        validation: float | ReplayBufferBase | None,
        options: FitOptions,
    ) -> Stopping:
        """Chooses a step count, and settings, which it puts into the config."""
        if self._impl is not None or self._enable_ddp:
            raise ValueError(
                "n_steps='auto' and validation need an algorithm that is not built yet, "
                "in one process: they begin anew; give a number of steps"
            )

        def make(fields: dict[str, Any]) -> Any:
            config = dataclasses.replace(copy.deepcopy(self._config), **fields)
            return type(self)(config, self._device, False)

        # All errors of the data, before any of them is learned from.
        make({}).prepare(dataset)
        # The whole log has been asked about the prior; no fold is.
        checked = {"check_prior": "off"} if hasattr(self._config, "check_prior") else {}
        settings = self.open_settings(dataset)
        # What suits the whole log would be too free for a part of it.
        share = trained_share(dataset.transition_count, validation)
        tried = self.open_settings(dataset, share)
        kept = options.checkpoint
        found = choose_n_steps(
            dataset,
            {name: functools.partial(make, checked | one) for name, one in tried.items()},
            most,
            validation,
            show_progress=options.show_progress,
            journal=None if kept is None else f"{os.fspath(kept)}.stopping",
        )
        for name, value in settings[found.name].items():
            setattr(self._config, name, value)
        LOG.info("Chose", n_steps=found.n_steps, settings=found.name)
        _log_curves(self, found, options)
        return found

    def prepare(self, dataset: ReplayBufferBase) -> None:
        """Checks the data and fits the scalers that are not fitted yet."""
        self.check_dataset(dataset)
        self.build_scalers(dataset)

    def batches(
        self, dataset: ReplayBufferBase, count: int, is_watched: bool
    ) -> Iterator[TorchMiniBatch]:
        """So many batches as :meth:`update` takes them; see :mod:`.batches`."""
        config, device = self._config, self._device
        size = self.batch_size
        return training_batches(dataset, size, count, config, device, is_watched)

    def update(self, batch: TransitionMiniBatch | TorchMiniBatch) -> dict[str, float]:
        """One gradient step, on a batch of a buffer or on scaled tensors of one."""
        assert self._impl is not None, "build or fit the algorithm before updating it"
        if not isinstance(batch, TorchMiniBatch):
            batch = to_torch_batch(batch, self._config, self._device)
        losses = self._impl.update(batch, self._grad_step)
        self._grad_step += 1
        return losses

    def build_scalers(self, dataset: ReplayBufferBase) -> None:
        """Fits the scalers that are not fitted yet; of several processes, the first's."""
        build_scalers_with_transition_picker(self, dataset)
        if self._enable_ddp:
            agree_on_config(self._config, dataset.dataset_info)
        episode = dataset.episodes[0]
        for name in ("observation", "action", "reward"):
            scaler = getattr(self._config, f"{name}_scaler")
            values = getattr(episode, f"{name}s")
            # Scalers of the parts of a tuple have no fixed form.
            if scaler is not None and not isinstance(values, (list, tuple)):
                check_scaler(f"{name}_scaler", scaler, values)

    def save(self, fname: str) -> None:
        """As d3rlpy's, but an interrupted write leaves the old file as it was."""
        check_built(self)
        with written_beside(fname) as beside:
            super().save(beside)

    def save_model(self, fname: str) -> None:
        """As d3rlpy's, but an interrupted write leaves the old file as it was."""
        check_built(self)
        assert self._impl is not None
        buffer = io.BytesIO()
        self._impl.save_model(buffer)
        write_whole(fname, buffer.getvalue())

    def save_policy(self, fname: str) -> None:
        """Saves the greedy policy as TorchScript (``.pt``) or ONNX (``.onnx``).

        Unlike d3rlpy's, the ONNX file takes any batch size and its writing works with
        current torch; it needs the package ``onnx``.
        """
        save_greedy_policy(self, fname)


def _log_curves(algo: Any, found: Stopping, options: FitOptions) -> None:
    """Held-out losses by step, as an experiment of their own."""
    name = f"{options.experiment_name or type(algo).__name__}_stopping"
    if options.with_timestamp:
        name += f"_{datetime.datetime.now():%Y%m%d%H%M%S}"
    adapter = options.logger_adapter.create(algo, name, options.n_steps_per_epoch)
    for number, step in enumerate(found.steps.tolist()):
        for setting, mean in zip(found.names, found.means[:, number], strict=True):
            metric = f"held_out_loss {setting}"
            adapter.write_metric(number + 1, step, metric, float(mean))
    adapter.close()
