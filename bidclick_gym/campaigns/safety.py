r"""Caps that a campaign must not break, enforced at the moment of the bid.

A payment is known before the bid is placed and a bid of 0 is free, so a cap on spending
can be kept with certainty by masking bids.  Clicks are not known: a cap on the cost per
click is kept with certainty only in the worst case, that no further click comes.  What
holds in expectation instead is :func:`~bidclick_gym.campaigns.solve_cost_per_click`.

With the payments :math:`m_1, \dots, m_t` and clicks :math:`y_1, \dots, y_t` of a campaign
so far, a bid :math:`a` at cost :math:`c` is allowed if

.. math:: \sum_{i \in \text{window}} m_i + c a \le \text{cap} \qquad\text{or}\qquad
    \sum_{i \le t} m_i + c a \le \text{cap} \sum_{i \le t} y_i.

Sums are float64: a cap is kept up to their rounding, less than 1e-12 in a campaign of a
thousand impressions.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any, Protocol, TypeAlias

import numpy as np
import numpy.typing as npt

from .._arrays import AnyArray, BoolArray, Float32Array, FloatArray, IntArray
from .._checks import check_flag, check_integer, check_number
from .campaign import BudgetedCampaign, check_campaign, check_observations

#: Observations ``(N, 4)`` to what every bid is worth, or its probability, ``(N, K)``.
Values: TypeAlias = Callable[[Float32Array], Any]

# Sums of payments are float64; a cap is broken by more than their rounding.
TOLERANCE = 1e-9


class Cap(Protocol):
    """A limit on what a campaign pays."""

    def allowed(
        self, payments: FloatArray, clicks: IntArray, prices: FloatArray
    ) -> BoolArray:
        """Which bids keep the cap, whatever is clicked.

        Args:
            payments, clicks: of the impressions so far, ``(N, t)``.
            prices: ``c a`` of every bid on the current impression, ``(N, K)``.

        Returns:
            bool, ``(N, K)``; a bid that costs nothing is always allowed.
        """


@dataclasses.dataclass(frozen=True)
class SpendCap:
    """At most so much is paid within a window of impressions.

    Windows are blocks of ``window`` impressions, counted from the start of the campaign
    (tumbling), or any ``window`` consecutive impressions (sliding).

    Args:
        window: impressions in a window, at least 1.
        cap: the most that is paid within one, in units of one click, at least 0, finite.
        sliding: whether every run of ``window`` impressions counts.

    Raises:
        ValueError: an argument is outside these bounds.
    """

    window: int
    cap: float
    sliding: bool = False

    def __post_init__(self) -> None:
        window = check_integer("window", self.window, 1)
        object.__setattr__(self, "window", window)
        object.__setattr__(self, "cap", check_number("cap", self.cap, 0.0))
        object.__setattr__(self, "sliding", check_flag("sliding", self.sliding))

    def spent(self, payments: FloatArray) -> FloatArray:
        """What the window of the next impression has paid, ``(N, t)`` to ``(N,)``."""
        t = payments.shape[1]
        recent = min(t, self.window - 1) if self.sliding else t % self.window
        return np.asarray(payments[:, t - recent :].sum(axis=1))

    def allowed(
        self, payments: FloatArray, clicks: IntArray, prices: FloatArray
    ) -> BoolArray:
        """Which bids keep the cap; arguments and result: `Cap.allowed`."""
        return _within(self.spent(payments), prices, self.cap)


@dataclasses.dataclass(frozen=True)
class CostPerClickCap:
    """At most so much is paid for each click, at every moment of a campaign.

    The mask lets through what past clicks cover: nothing is paid before the first click,
    and no later click is counted on.

    Args:
        cap: payments for each click, positive and finite.

    Raises:
        ValueError: ``cap`` is no such number.
    """

    cap: float

    def __post_init__(self) -> None:
        object.__setattr__(self, "cap", check_number("cap", self.cap, 0.0, open=True))

    def allowed(
        self, payments: FloatArray, clicks: IntArray, prices: FloatArray
    ) -> BoolArray:
        """Which bids keep the cap; arguments and result: `Cap.allowed`."""
        covered = self.cap * clicks.sum(axis=1)
        return _within(payments.sum(axis=1), prices, covered[:, None])


def _within(paid: FloatArray, prices: FloatArray, most: Any) -> BoolArray:
    return np.asarray((paid[:, None] + prices <= most) | (prices == 0.0))


class SafePolicy:
    """Plays many campaigns at once and breaks no cap.

    Of the bids that every cap allows and the rest of the budget pays for it takes the one
    of the highest value, ties to the lowest; or it samples, with the probabilities of
    forbidden bids shared out among the others in proportion, and bids 0 if the others
    have none.  What can be paid is read from the observation, in float32.

    It decides from histories that it is handed (``decide``), or keeps them itself:
    ``reset``, then ``act`` and ``observe`` in turn.

    Args:
        values: observations ``(N, 4)`` to floats ``(N, K)``: what every bid is worth, as
            ``Solution.q_values`` says it, or probabilities.
        caps: what is kept, any number of caps.
        campaign: what is played; the default campaign if not given.
        sampled: whether ``values`` are probabilities to sample from.

    Raises:
        TypeError: ``values``, ``caps`` or ``campaign`` is something else.
        ValueError: ``sampled`` is no bool.
    """

    def __init__(
        self,
        values: Values,
        caps: Sequence[Cap],
        campaign: BudgetedCampaign | None = None,
        *,
        sampled: bool = False,
    ):
        if not callable(values):
            raise TypeError(
                "values must be a function from observations (N, 4) to values (N, K), "
                f"got {type(values).__name__}"
            )
        self.campaign = check_campaign(campaign)
        self.caps = check_caps(caps)
        self._values, self._sampled = values, check_flag("sampled", sampled)
        self.reset(1)

    def reset(self, campaigns: int, seed: int = 0) -> None:
        """Starts ``campaigns`` campaigns, at least 1; ``seed`` is of sampled bids."""
        check_integer("campaigns", campaigns, 1)
        check_integer("seed", seed, 0)
        self._rng = np.random.default_rng(seed)
        self._payments = np.zeros((campaigns, 0))
        self._clicks = np.zeros((campaigns, 0), np.int64)

    def observe(self, payments: npt.ArrayLike, clicks: npt.ArrayLike) -> None:
        """Adds an impression to the histories.

        Args:
            payments: what each campaign paid, ``(N,)``, at least 0.
            clicks: whether it was clicked, 0 or 1, ``(N,)``.

        Raises:
            ValueError: these are something else.
        """
        rows = len(self._payments)
        paid, clicked = np.asarray(payments), np.asarray(clicks)
        # Not-a-number fails the comparison.
        if paid.shape != (rows,) or not ((paid >= 0.0) & (paid < np.inf)).all():
            raise ValueError(
                f"payments must be {rows} finite numbers >= 0, got {payments!r}"
            )
        if clicked.shape != (rows,) or not np.isin(clicked, (0, 1)).all():
            raise ValueError(f"clicks must be {rows} numbers, 0 or 1, got {clicks!r}")
        self._payments = np.column_stack([self._payments, paid])
        self._clicks = np.column_stack([self._clicks, clicked.astype(np.int64)])

    def act(self, observations: AnyArray) -> IntArray:
        """Bids of the campaigns whose histories it keeps; `decide` says more."""
        return self.decide(observations, self._payments, self._clicks)

    def decide(
        self, observations: AnyArray, payments: FloatArray, clicks: IntArray
    ) -> IntArray:
        """Bids of campaigns of given histories.

        Args:
            observations: ``(x, c, b / B, k / T)``, shape ``(N, 4)``.
            payments, clicks: of the impressions so far, ``(N, t)``.

        Returns:
            indices of bids, int64 ``(N,)``.

        Raises:
            ValueError: shapes do not fit each other, or ``values`` gives another one or
                values that are not numbers.
        """
        allowed = self.allowed(observations, payments, clicks)
        found = np.asarray(self._values(observations))
        if found.shape != allowed.shape or found.dtype.kind != "f":
            raise ValueError(
                f"values must give floats of shape {allowed.shape}, got {found.dtype} of "
                f"shape {found.shape}"
            )
        if np.isnan(found).any() or (self._sampled and not (found >= 0.0).all()):
            kind = "probabilities, at least 0" if self._sampled else "numbers"
            raise ValueError(f"values must give {kind}, got {found}")
        if not self._sampled:
            return np.where(allowed, found, -np.inf).argmax(axis=1)
        edges = np.cumsum(np.where(allowed, found, 0.0), axis=1, dtype=np.float64)
        # From (0, total]: bids without probability, an interval of no length, are missed.
        u = (1.0 - self._rng.random(len(found))) * edges[:, -1]
        return (u[:, None] > edges[:, :-1]).sum(axis=1)

    def allowed(
        self, observations: AnyArray, payments: FloatArray, clicks: IntArray
    ) -> BoolArray:
        """Which bids every cap allows and the budget pays for, bool ``(N, K)``.

        Arguments and errors are those of `decide`.
        """
        observations = check_observations(observations)
        rows = len(observations)
        shapes = np.shape(payments), np.shape(clicks)
        if shapes[0] != shapes[1] or len(shapes[0]) != 2 or shapes[0][0] != rows:
            raise ValueError(
                f"payments and clicks must both have shape ({rows}, t) for {rows} "
                f"observations, got {shapes[0]} and {shapes[1]}"
            )
        _, c, b, _ = self.campaign.read(observations)
        mask: BoolArray = self.campaign.is_affordable(c, b)
        return mask & allowed_by(self.caps, self.campaign, c, payments, clicks)


def check_caps(caps: Any) -> tuple[Cap, ...]:
    """Caps as a tuple; raises ``TypeError`` unless each has a method ``allowed``."""
    is_sequence = isinstance(caps, (list, tuple))
    if not is_sequence or not all(callable(getattr(c, "allowed", None)) for c in caps):
        raise TypeError(
            "caps must be a tuple of caps, such as SpendCap(10, 0.8) and "
            f"CostPerClickCap(0.1), got {caps!r}"
        )
    return tuple(caps)


def allowed_by(
    caps: tuple[Cap, ...],
    campaign: BudgetedCampaign,
    c: FloatArray,
    payments: FloatArray,
    clicks: IntArray,
) -> BoolArray:
    """Which bids all caps allow at costs ``(N,)``, bool ``(N, K)``."""
    prices = c[:, None] * campaign.auction.bid_array
    mask = np.ones(prices.shape, np.bool_)
    for cap in caps:
        mask &= cap.allowed(payments, clicks, prices)
    return mask


def count_violations(
    caps: Sequence[Cap], payments: npt.ArrayLike, clicks: npt.ArrayLike
) -> IntArray:
    """How often campaigns broke each cap, from what they paid.

    Tumbling spend caps are counted by block, sliding ones by the impressions at whose end
    the last ``window`` cost too much, caps on the cost per click by the impressions after
    which all payments exceed ``cap`` times all clicks.  Excesses up to 1e-9 are rounding.

    Args:
        caps: `SpendCap` and `CostPerClickCap`.
        payments: of whole campaigns, ``(N, T)``.
        clicks: of whole campaigns, 0 or 1, ``(N, T)``.

    Returns:
        int64, ``(N, len(caps))``.

    Raises:
        TypeError: a cap is of another kind.
        ValueError: shapes differ or are others.
    """
    paid, clicked = np.asarray(payments, np.float64), np.asarray(clicks, np.int64)
    if paid.ndim != 2 or paid.shape != clicked.shape:
        raise ValueError(
            "payments and clicks must both have shape (N, T), "
            f"got {paid.shape} and {clicked.shape}"
        )
    counts = np.zeros((len(paid), len(check_caps(caps))), np.int64)
    total = np.cumsum(np.pad(paid, ((0, 0), (1, 0))), axis=1)
    ends = np.arange(1, total.shape[1])
    for i, cap in enumerate(caps):
        if isinstance(cap, CostPerClickCap):
            excess = total[:, 1:] - cap.cap * np.cumsum(clicked, axis=1)
        elif isinstance(cap, SpendCap) and cap.sliding:
            excess = total[:, ends] - total[:, np.maximum(ends - cap.window, 0)] - cap.cap
        elif isinstance(cap, SpendCap):
            starts = np.arange(0, paid.shape[1], cap.window)
            stops = np.minimum(starts + cap.window, paid.shape[1])
            excess = total[:, stops] - total[:, starts] - cap.cap
        else:
            raise TypeError(f"caps must be SpendCap or CostPerClickCap, got {cap!r}")
        counts[:, i] = (excess > TOLERANCE).sum(axis=1)
    return counts
