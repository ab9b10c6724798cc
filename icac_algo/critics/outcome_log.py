"""What a log says of outcomes: whether it fits them, their levels and spreads."""

from __future__ import annotations

import dataclasses
import functools
import math
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from d3rlpy.preprocessing import ObservationScaler, RewardScaler

from .._util.checks import check_rows
from ..data import (
    REWARD,
    BudgetRelabellingTransitionPicker,
    ColumnarReplayBuffer,
    Columns,
    extra_values,
    find_extra,
)
from ..shapes import Outcome, Weight, conditions
from .base import reward_slope
from .links import eta_of, variance_of
from .standardisation import FeatureMoments, Moments, Standardisation

FloatArray = npt.NDArray[np.float64]
_ROWS_AT_ONCE = 1 << 18
# Features, actions and rewards are float32, and formulas add several of them.
_ROUNDING = 1e-5
_RANGES = {"identity": (-math.inf, math.inf), "logit": (0.0, 1.0), "log": (0.0, math.inf)}
_LARGEST = float(np.finfo(np.float32).max)
_ALLOWED = {
    "identity": "finite in float32",
    "logit": "from 0 to 1",
    "log": "at least 0 and finite",
}


@dataclasses.dataclass(frozen=True, kw_only=True)
class OutcomeStandardisation(Standardisation):
    r"""What the parts of a critic of outcomes are measured from and in.

    ``level`` and ``scale`` are those of what follows, in scaled rewards.  The ``balance``
    is what each outcome's negative log-likelihood counts in the loss:
    :math:`E[\mathbb{1}[\text{given}] (\partial Q / \partial \mu_k)^2]\, Var(y_k)` over
    the variance of rewards.
    """

    follows: bool  # whether any step is followed by another
    levels: tuple[float, ...]  # of learned outcomes on their links' scales: of the mean
    scales: tuple[float, ...]  # the spread where the link is the identity, else 1
    balance: tuple[float, ...]

    @property
    def numbers(self) -> list[float]:
        parts = (self.levels, self.scales, self.balance, self.middle, self.spread)
        more = [number for part in parts for number in part]
        return [self.level, self.scale, float(self.follows), *more]

    @classmethod
    def of_log(
        cls,
        total: Standardisation,
        follows: bool,
        outcomes: Sequence[Outcome],
        blocks: Callable[[], Iterator[Block]],
        observation_scaler: ObservationScaler | None,
        reward_scaler: RewardScaler | None,
    ) -> OutcomeStandardisation:
        """From two passes over pieces of a log, which the first one checks.

        ``total`` is that of Q as a whole.
        """
        learned = [i for i, one in enumerate(outcomes) if one.learned]
        moments = {i: Moments() for i in learned}
        features: FeatureMoments | None = None
        for block in blocks():
            block.check()
            for i in learned:
                moments[i].add(block.values[i][block.counts(i)])
            seen = block.observations
            if seen is not None:
                if observation_scaler is not None:
                    seen = observation_scaler.transform_numpy(seen)
                features = features or FeatureMoments(seen.shape[1])
                features.add(seen)
        means = {i: moments[i].mean for i in learned}
        squares, rows = dict.fromkeys(learned, 0.0), 0
        for block in blocks():
            rows += len(block)
            for i in learned:
                effect = block.effect(i, means)[block.counts(i)]
                squares[i] += float(np.square(effect).sum())
        spread = (total.scale / reward_slope(reward_scaler)) ** 2
        variances = [
            variance_of(outcomes[i].link, means[i], moments[i].variance) for i in learned
        ]
        return cls(
            level=total.level - total.mean if follows else 0.0,
            scale=total.scale,
            mean=total.mean,
            follows=follows,
            levels=tuple(
                eta_of(outcomes[i].link, means[i], moments[i].count) for i in learned
            ),
            scales=tuple(
                (math.sqrt(v) or abs(means[i]) or 1.0)
                if outcomes[i].link == "identity"
                else 1.0
                for i, v in zip(learned, variances, strict=True)
            ),
            balance=tuple(
                max(
                    squares[i] / max(rows, 1) * v / spread,
                    # What one unit on the link's scale changes, at least.
                    _LEAST_SHARE / (1.0 if outcomes[i].link == "identity" else v or 1.0),
                )
                for i, v in zip(learned, variances, strict=True)
            ),
            middle=() if features is None else features.middle,
            spread=() if features is None else features.spread,
        )


# An outcome that hardly counts is still learned: its head has an optimizer's own step.
_LEAST_SHARE = 1e-6


class Block:
    """Some rows of a log: observations, actions, rewards and every outcome's values.

    Observations are asked for when they are looked at: unscaled float32 vectors,
    ``(B, d)``, ``None`` if there are none.  Actions are in their own units and rewards
    unscaled, ``(B,)``; ``rows`` are their numbers in the log, for errors.
    """

    def __init__(
        self,
        outcomes: Sequence[Outcome],
        observations: Callable[[], npt.NDArray[Any] | None],
        actions: FloatArray,
        rewards: FloatArray,
        read: Callable[[str], npt.NDArray[Any]],
        rows: npt.NDArray[np.int64],
    ):
        self._outcomes, self._rewards, self._rows = outcomes, rewards, rows
        self._read_observations = observations
        self._actions = torch.as_tensor(actions)[:, None]
        self.values = {
            i: np.asarray(read(one.column), np.float64)
            for i, one in enumerate(outcomes)
            if one.column is not None
        }

    @functools.cached_property
    def observations(self) -> npt.NDArray[Any] | None:
        """Unscaled vectors, ``(B, d)``, if these are any."""
        return self._read_observations()

    def __len__(self) -> int:
        return len(self._rewards)

    def counts(self, i: int) -> npt.NDArray[np.bool_]:
        """Rows where everything happened that an outcome is given."""
        counts = np.ones(len(self), dtype=bool)
        for j in conditions(self._outcomes, self._outcomes[i]):
            counts &= self.values[j] > 0.0
        return counts

    def weight(self, i: int, magnitude: bool = False) -> FloatArray:
        """An outcome's weight in each row."""
        weight, observations = Weight(self._outcomes[i].weight), None
        if weight.features:
            observations = torch.as_tensor(self.observations)
        values = weight(observations, self._actions, magnitude)[:, 0].numpy()
        return np.broadcast_to(values, (len(self),))

    def effect(self, i: int, means: dict[int, float]) -> FloatArray:
        """By how much Q changes with an outcome's mean, others at their means."""
        effect = self.weight(i)
        for j, other in enumerate(self._outcomes):
            if other.given is not None and other.given == self._outcomes[i].column:
                effect = effect + means.get(j, 1.0) * self.effect(j, means)
        return effect

    def check(self) -> None:
        """Refuses values that no outcome can have, and rewards that they do not make."""

        def where(i: int) -> str:
            return f"row {self._rows[i]}"

        total, magnitude = np.zeros(len(self)), np.abs(self._rewards)
        given = {one.given for one in self._outcomes}
        for i, one in enumerate(self._outcomes):
            counts, y = self.counts(i), self.values.get(i, np.ones(len(self)))
            low, high = _RANGES[one.link]
            allowed = _ALLOWED[one.link]
            # Networks take float32.
            bad = ~((np.abs(y) <= _LARGEST) & (y >= low) & (y <= high))
            if one.column in given and one.learned:
                allowed, bad = "0 or 1", bad | ((y != 0.0) & (y != 1.0))
            if one.given is not None:
                allowed += f" where {one.given!r} is 1"
            name = f"outcome {one.name!r} (link={one.link!r})"
            check_rows(f"{name} must be {allowed}", y, bad & counts, where=where)
            y = np.where(counts, y, 0.0)
            total = total + self.weight(i) * y
            magnitude = magnitude + self.weight(i, magnitude=True) * np.abs(y)
        off = ~(np.abs(total - self._rewards) <= _ROUNDING * magnitude)
        if off.any():
            row = int(np.argmax(off))
            raise ValueError(
                f"rewards must be what outcomes add up to, {_formula(self._outcomes)}: "
                f"{where(row)} has the reward {self._rewards[row]:g}, its outcomes "
                f"give {total[row]:g}"
            )


def _formula(outcomes: Sequence[Outcome]) -> str:
    """The reward in words, such as ``click + (-x1 * action)``."""
    parts = []
    for one in outcomes:
        chain = [] if one.column is None else [one.column]
        chain += [str(outcomes[j].column) for j in conditions(outcomes, one)]
        weight = [] if one.weight == "1" and chain else [f"({one.weight})"]
        parts.append(" * ".join([*weight, *chain]))
    return " + ".join(parts)


def check_log(dataset: ColumnarReplayBuffer, outcomes: Sequence[Outcome]) -> None:
    """Checks that a log has a column of numbers for each outcome."""
    columns = dataset.columns
    for one in outcomes:
        if one.column is None:
            continue
        found = find_extra(columns, one.column)
        if found is None:
            known = sorted({REWARD, *columns.extras})
            raise ValueError(
                f"outcomes need the column {one.column!r}, the log has {known}; "
                "a ColumnarReplayBuffer takes further columns as extras"
            )
        if found[1].row_shape not in ((), (1,)):
            raise ValueError(
                f"outcome {one.column!r} must have one number a row, {found[0]} has rows "
                f"of shape {found[1].row_shape}"
            )


def check_batches(dataset: ColumnarReplayBuffer, outcomes: Sequence[Outcome]) -> None:
    """Checks that batches of a log know its columns, and that these are true of them."""
    picker = dataset.transition_picker
    if dataset.transition_count != dataset.columns.index.transitions:
        raise ValueError(
            "outcomes need a dataset without an open episode, whose steps have no "
            "further columns; clip_episode ends one, append_episode takes extras"
        )
    if not dataset.picks_logged_batches:
        raise ValueError(
            "outcomes need a transition_picker whose transitions are rows of the log, "
            f"such as BasicTransitionPicker(), got {type(picker).__name__}"
        )
    if isinstance(picker, BudgetRelabellingTransitionPicker):
        for one in outcomes:
            if picker.budget_feature in Weight(one.weight).features:
                raise ValueError(
                    f"weight must not read feature {picker.budget_feature}, which the "
                    f"dataset's transition_picker relabels, got {one.weight!r}"
                )


def blocks_of(
    dataset: ColumnarReplayBuffer,
    outcomes: Sequence[Outcome],
    positions: FloatArray | None,
) -> Iterator[Block]:
    """A log's decisions, some at a time; discrete actions have positions, ``(K,)``."""
    columns = dataset.columns
    decisions = columns.index.decisions()
    for start in range(0, len(decisions), _ROWS_AT_ONCE):
        rows = decisions[start : start + _ROWS_AT_ONCE]
        taken = columns.actions.take(rows).reshape(len(rows), -1)[:, 0]
        yield Block(
            outcomes,
            functools.partial(_vectors, columns, rows),
            np.asarray(taken if positions is None else positions[taken], np.float64),
            columns.rewards.take(rows).reshape(-1).astype(np.float64),
            functools.partial(_read, columns, rows),
            rows,
        )


def _vectors(columns: Columns, rows: npt.NDArray[np.int64]) -> npt.NDArray[Any] | None:
    part = columns.observations[0]
    if columns.is_tuple or len(part.row_shape) != 1:
        return None
    return part.take(rows).astype(np.float32)


def _read(columns: Columns, rows: npt.NDArray[np.int64], name: str) -> npt.NDArray[Any]:
    return extra_values(columns, name, rows)
