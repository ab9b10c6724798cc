"""ConstraintAwareQ with outcomes: each learns by its own likelihood."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from d3rlpy.preprocessing import ObservationScaler, RewardScaler
from d3rlpy.torch_utility import TorchMiniBatch, unwrap_ddp_model
from d3rlpy.types import TorchObservation

from ..critics import (
    Block,
    OutcomeCritic,
    OutcomeQFunction,
    OutcomeStandardisation,
    Standardisation,
)
from ..data import REWARD, LoggedMiniBatch
from ..shapes import Outcome
from .batches import TrainingBatch
from .constraint_aware_q_continuous import ContinuousConstraintAwareQImpl
from .constraint_aware_q_impl import ConstraintAwareQImpl


class OutcomeConstraintAwareQImpl(ConstraintAwareQImpl):
    """The torch side of :class:`~icac_algo.ConstraintAwareQ` with outcomes."""

    def __init__(
        self,
        *,
        outcomes: Sequence[Outcome],
        reward_scaler: RewardScaler | None,
        observation_scaler: ObservationScaler | None,
        **others: Any,
    ):
        super().__init__(**others)
        self._outcomes = list(outcomes)
        self._columns = [one.column for one in outcomes if one.column is not None]
        self._reward_scaler = reward_scaler
        self._observation_scaler = observation_scaler

    # -- update ----------------------------------------------------------------

    def critic_loss(
        self, batch: TorchMiniBatch
    ) -> tuple[torch.Tensor, list[torch.Tensor], dict[str, torch.Tensor]]:
        """The loss, every critic's coordinates, and metrics by outcome."""
        column = _column(batch)
        labels = [column(name) for name in self._columns]
        actions = self._critic_actions(batch.actions)
        target = self._later_target(batch)
        metrics: dict[str, torch.Tensor] = {}
        coordinates, total = [], torch.zeros((), device=self._device)
        trunk, q_funcs, count = self._trunk, self._modules.q_funcs, 1
        learned: list[tuple[OutcomeCritic, Any]] = []
        if trunk is not None:
            found = trunk.coordinates(batch.observations)
            coordinates, count = trunk.each(found), len(q_funcs)
            labels = [trunk.repeated(label) for label in labels]
            target = None if target is None else trunk.repeated(target)
            critic = _critic(q_funcs[0])
            known = critic.each_predictor(found, trunk.repeated(actions))
            learned = [(critic, known)]
        else:
            for wrapped in q_funcs:
                predictors, of_states = self._learn(wrapped, batch, actions)
                learned.append((_critic(wrapped), predictors))
                coordinates.append(of_states)
        for critic, predictors in learned:
            terms = {
                # Loggers make a file of each name.
                f"{name.replace('/', '_')}_loss": term
                for name, term in critic.fit_terms(predictors, labels).items()
            }
            if target is not None:
                later = self.squared_error([predictors[-1]], target)
                terms["what_follows_loss"] = later
            for name, term in terms.items():
                # Terms are means; over critics they add up.
                total = total + count * term
                metrics[name] = metrics.get(name, 0.0) + count * term.detach()
        return total, coordinates, {**metrics, "critic_loss": total.detach()}

    def _learn(
        self, q_func: Any, batch: TorchMiniBatch, actions: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Predictors at logged actions, and coordinates; through any DDP wrapper."""
        found: tuple[torch.Tensor, torch.Tensor] = q_func(
            batch.observations, actions=actions, after=batch.next_observations
        )
        return found

    def _critic_actions(self, actions: torch.Tensor) -> torch.Tensor:
        """Logged actions as critics take them, ``(B, 1)``: indices here."""
        return actions.long().view(-1, 1)

    def _unscaled_actions(self, actions: torch.Tensor) -> torch.Tensor:
        """Logged actions in their own units, ``(B, 1)``."""
        return self.positions[self._critic_actions(actions)]

    def _later_target(self, batch: TorchMiniBatch) -> torch.Tensor | None:
        """What follows, in scaled rewards, ``(B, 1)``; ``None`` if nothing ever does."""
        if not bool(_critic(self._modules.targ_q_funcs[0]).follows):
            return None
        own = _column(batch)(REWARD)[:, None]
        if self._reward_scaler is not None:
            own = self._reward_scaler.transform(own)
        target = self.bellman_target(batch) - own
        return target.detach()

    def actor_values(
        self, x: TorchObservation, critics: list[torch.Tensor]
    ) -> torch.Tensor:
        return self._all_values(self._modules.q_funcs, x)

    # -- level and scale -------------------------------------------------------

    def standardise_by_batch(self, batch: TorchMiniBatch) -> None:
        logged, x = batch.numpy_batch, batch.observations
        assert isinstance(logged, LoggedMiniBatch)
        scaler = self._observation_scaler
        observations: npt.NDArray[Any] | None = None
        if isinstance(x, torch.Tensor) and x.dim() == 2:
            unscaled = x if scaler is None else scaler.reverse_transform(x)
            observations = unscaled.cpu().numpy()
        block = Block(
            self._outcomes,
            lambda: observations,
            self._unscaled_actions(batch.actions)[:, 0].double().cpu().numpy(),
            np.asarray(logged.extra(REWARD), np.float64),
            logged.extra,
            np.arange(len(batch.rewards)),
        )
        self.standardise(
            OutcomeStandardisation.of_log(
                Standardisation.of_batch(batch.rewards, batch.terminals, self._gamma),
                self._gamma > 0.0 and not logged.terminals.all(),
                self._outcomes,
                lambda: iter([block]),
                scaler,
                self._reward_scaler,
            )
        )

    # -- prediction ------------------------------------------------------------

    def action_values(self, x: TorchObservation) -> torch.Tensor:
        """The deployed critic's values of all actions at once, ``(B, K)``."""
        return self._all_values(self._modules.average_q_funcs, x)

    def _all_values(self, q_funcs: Any, x: TorchObservation) -> torch.Tensor:
        critics = [_discrete(q_func) for q_func in q_funcs]
        return critics[0].composed(x, OutcomeQFunction.exact(critics, x))

    def outcome_means(self, x: TorchObservation, actions: torch.Tensor) -> torch.Tensor:
        """Means of the learned outcomes at given actions, ``(B, n)``, float64.

        Of several critics, at their mean on the links' scales, which has the shapes.
        """
        critics = [_discrete(q_func) for q_func in self._modules.average_q_funcs]
        means = critics[0].exact_means(OutcomeQFunction.exact(critics, x))
        chosen = actions.long().view(-1, 1)
        return torch.cat([mean.gather(1, chosen) for mean in means], dim=1)


class ContinuousOutcomeImpl(OutcomeConstraintAwareQImpl, ContinuousConstraintAwareQImpl):
    """The same over a Box of one action."""

    def _learn(
        self, q_func: Any, batch: TorchMiniBatch, actions: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        found: tuple[torch.Tensor, torch.Tensor] = q_func(
            batch.observations, batch.actions, actions=actions
        )
        return found

    def _critic_actions(self, actions: torch.Tensor) -> torch.Tensor:
        return self._unscaled_actions(actions)

    def _unscaled_actions(self, actions: torch.Tensor) -> torch.Tensor:
        scaler = self._action_scaler
        return actions if scaler is None else scaler.reverse_transform(actions)

    def outcome_means(self, x: TorchObservation, actions: torch.Tensor) -> torch.Tensor:
        critics = [_critic(q_func) for q_func in self._modules.average_q_funcs]
        known = [q_func.coordinates(x) for q_func in critics]
        predictors = _mean_predictors(critics, known, self._unscaled_actions(actions))
        return torch.cat(critics[0].means(predictors), dim=1)

    def mean_values(
        self,
        q_funcs: Sequence[OutcomeCritic],
        x: TorchObservation,
        coordinates: Sequence[torch.Tensor],
        actions: torch.Tensor,
    ) -> torch.Tensor:
        # Means are taken on the links' scales, as over discrete actions.
        predictors = _mean_predictors(q_funcs, coordinates, actions)
        return q_funcs[0].compose(x, predictors, actions)


def _mean_predictors(
    critics: Sequence[OutcomeCritic],
    coordinates: Sequence[torch.Tensor],
    actions: torch.Tensor,
) -> torch.Tensor:
    """Of several critics at unscaled actions ``(B, M)``: ``(n + 1, B, M)``."""
    found = [
        q.predictors(of_states.double(), actions.double())
        for q, of_states in zip(critics, coordinates, strict=True)
    ]
    return found[0] if len(found) == 1 else torch.stack(found).mean(dim=0)


def _column(batch: TorchMiniBatch) -> Callable[[str], torch.Tensor]:
    if not isinstance(batch, TrainingBatch) or batch.column is None:
        raise ValueError(
            "outcomes are learned from batches of a ColumnarReplayBuffer, which know "
            f"further columns, got {type(batch.numpy_batch or batch).__name__}"
        )
    return batch.column


def _critic(q_func: Any) -> OutcomeCritic:
    critic = unwrap_ddp_model(q_func)
    assert isinstance(critic, OutcomeCritic)
    return critic


def _discrete(q_func: Any) -> OutcomeQFunction:
    critic = unwrap_ddp_model(q_func)
    assert isinstance(critic, OutcomeQFunction)
    return critic
