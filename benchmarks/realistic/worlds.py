"""Four worlds with a known truth: what is logged, and what every action is worth.

None of them is made of the pieces that our critics are made of: bids meet a mixture of
lognormal prices, demand is a power of the price with a Gaussian drop, benefit is an Emax
curve and harm a power of the dose.
"""

from __future__ import annotations

import abc
import dataclasses
import functools
from collections.abc import Mapping
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
from scipy.special import expit, ndtr

Array = npt.NDArray[Any]

#: Contexts that every policy of a world is judged on, drawn by this seed.
JUDGED, JUDGE_SEED = 4000, 987_654
#: Doses among which the best one is looked for; policies may give any.
DOSES = np.linspace(0.0, 1.0, 101)


@dataclasses.dataclass(frozen=True)
class Part:
    """An outcome that the reward is made of, and what a user knows of it."""

    column: str
    link: Literal["identity", "logit", "log"]
    rises: int = 0  # 1 rises with the action, -1 falls, 0 does not depend on it
    bends: int = 0  # 1 convex, -1 concave, 0 either
    weight: str | float = 1.0  # of an `icac_algo.Outcome`
    given: str | None = None  # the 0/1 outcome without which it is not seen


@dataclasses.dataclass(frozen=True)
class Log:
    """Rows of a logging policy."""

    observations: Array  # (N, F)
    actions: Array  # (N,), the numbers themselves
    outcomes: Mapping[str, Array]  # each (N,)
    rewards: Array  # (N,)
    propensities: Array  # (N,), of the action; a density where actions are not listed

    def __len__(self) -> int:
        return len(self.rewards)


class Problem:
    """What learners are told beside the log."""

    name: str
    parts: tuple[Part, ...]
    #: All that is allowed; ``None`` for any dose in [0, 1].
    actions: Array | None
    #: Of doses, where a learner needs a list of them.
    levels = 11

    @property
    def candidates(self) -> Array:
        return DOSES if self.actions is None else self.actions


class World(Problem, abc.ABC):
    """A problem whose truth is fixed; a seed draws a log."""

    def log(self, rows: int, seed: int) -> Log:
        rng = np.random.default_rng([seed, len(self.name)])
        observations = self.contexts(rng, rows)
        actions, propensities = self.logged(rng, observations)
        outcomes = self.draw(rng, observations, actions)
        rewards = self.reward(observations, actions, outcomes)
        return Log(observations, actions, outcomes, rewards, propensities)

    @abc.abstractmethod
    def contexts(self, rng: np.random.Generator, rows: int) -> Array:
        """Observations ``(rows, F)``."""

    @abc.abstractmethod
    def logged(self, rng: np.random.Generator, contexts: Array) -> tuple[Array, Array]:
        """The logging policy's actions and their propensities."""

    @abc.abstractmethod
    def draw(
        self, rng: np.random.Generator, contexts: Array, actions: Array
    ) -> dict[str, Array]:
        """Outcomes of rows; what is not seen is 0."""

    @abc.abstractmethod
    def means(self, contexts: Array, actions: Array) -> dict[str, Array]:
        """True means of the parts; those with ``given`` are of rows where it is 1."""

    @abc.abstractmethod
    def reward(
        self, contexts: Array, actions: Array, outcomes: Mapping[str, Array]
    ) -> Array:
        """What the user knows: linear in the outcomes, so right for their means too."""

    def value(self, contexts: Array, actions: Array) -> Array:
        """True expected reward."""
        return self.reward(contexts, actions, self.means(contexts, actions))

    @functools.cached_property
    def judged(self) -> Array:
        return self.contexts(np.random.default_rng(JUDGE_SEED), JUDGED)

    @functools.cached_property
    def best(self) -> tuple[Array, Array]:
        """The best action of every judged context, and what it is worth."""
        values = on_grid(self.value, self.judged, self.candidates)
        return self.candidates[values.argmax(1)], values.max(1)

    def regret(self, actions: Array) -> float:
        """Of the actions ``(JUDGED,)`` that a policy takes in the judged contexts."""
        return float((self.best[1] - self.value(self.judged, actions)).mean())


def on_grid(function: Any, contexts: Array, actions: Array) -> Array:
    """``function(contexts, actions)`` for every pair, ``(N, A)``."""
    repeated = np.repeat(contexts, len(actions), axis=0)
    every = np.tile(actions, len(contexts))
    return np.asarray(function(repeated, every)).reshape(len(contexts), len(actions))


# -- auctions ----------------------------------------------------------------

CAMPAIGNS = 40
FLOOR, FIRST_DEVICE, FIRST_CAMPAIGN = 2, 7, 10
_BIDS = (0.05, 0.08, 0.13, 0.2, 0.32, 0.5, 0.8, 1.2, 1.8, 2.7, 4.0, 6.0)
#: Of the campaigns' values and markets, which no column shows.
_EFFECTS = np.random.default_rng(5).normal(size=(2, CAMPAIGNS))
_FLOOR_SPREAD = 0.15
_NODES, _WEIGHTS = np.polynomial.legendre.leggauss(100)
_LOWEST = -6.0  # below it no price is


class _Auction(World):
    """What first and second price share: contexts, values, the market, the logger."""

    actions = np.array(_BIDS)
    SHADED: float  # how far the logger bids below what he thinks it is worth, as a log

    def contexts(self, rng: np.random.Generator, rows: int) -> Array:
        hour = rng.uniform(0.0, 2.0 * np.pi, rows)
        quality, rivals = rng.normal(size=(2, rows))
        score = rng.beta(2.0, 3.0, rows)
        days = rng.exponential(5.0, rows)
        floor = np.exp(-1.6 + 0.4 * quality + 0.4 * rng.normal(size=rows))
        device = np.eye(3)[rng.choice(3, rows, p=(0.5, 0.35, 0.15))]
        shares = 1.0 / np.arange(5, CAMPAIGNS + 5)
        campaign = rng.choice(CAMPAIGNS, rows, p=shares / shares.sum())
        numbers = [np.sin(hour), np.cos(hour), floor, score, quality, days, rivals]
        return np.column_stack([*numbers, device, np.eye(CAMPAIGNS)[campaign]])

    def worth(self, contexts: Array) -> Array:
        """Mean value of an impression that is won."""
        sine, _, _, score, quality, days, _ = contexts[:, :FIRST_DEVICE].T
        phone = contexts[:, FIRST_DEVICE]
        effect = contexts[:, FIRST_CAMPAIGN:] @ _EFFECTS[0]
        return np.asarray(
            np.exp(
                0.6
                + 0.45 * effect
                + 0.8 * np.tanh(4.0 * (score - 0.4))
                + 0.3 * quality * (1.0 - 1.4 * phone)
                - 0.5 * score * np.log1p(days)
                + 0.2 * sine * effect
            )
        )

    def _market(self, contexts: Array) -> tuple[Array, Array, Array, Array]:
        """Middle and spread of log prices, the share of strong rivals, the log floor."""
        _, cosine, floor, score, quality, _, rivals = contexts[:, :FIRST_DEVICE].T
        effect = contexts[:, FIRST_CAMPAIGN:] @ _EFFECTS[1]
        middle = -0.7 + 0.3 * effect + 0.3 * rivals + 0.2 * cosine * (rivals > 0)
        middle = middle + 0.8 * score + 0.15 * quality * rivals
        spread = 0.3 + 0.4 * expit(-rivals)
        return middle, spread, 0.15 + 0.35 * ndtr(quality), np.log(floor)

    @staticmethod
    def _below(market: tuple[Array, Array, Array, Array], logs: Array) -> Array:
        """The chance that the highest other bid and the floor are below a log bid."""
        middle, spread, strong, floor = market
        below = (1.0 - strong) * ndtr((logs - middle) / spread)
        below += strong * ndtr((logs - middle - 0.9) / 0.25)
        return np.asarray(below * ndtr((logs - floor) / _FLOOR_SPREAD))

    def chance(self, contexts: Array, bids: Array) -> Array:
        """Of a win."""
        return self._below(self._market(contexts), np.log(bids))

    def logged(self, rng: np.random.Generator, contexts: Array) -> tuple[Array, Array]:
        target = np.log(self.worth(contexts)) - self.SHADED
        distance = (np.log(self.actions) - target[:, None]) / 0.6
        weights = np.exp(-0.5 * distance**2) + 1e-12
        shares = weights / weights.sum(1, keepdims=True)
        shares = 0.9 * shares + 0.1 / len(self.actions)
        drawn = (shares.cumsum(1) < rng.random((len(contexts), 1))).sum(1)
        drawn = np.minimum(drawn, len(self.actions) - 1)
        return self.actions[drawn], shares[np.arange(len(drawn)), drawn]

    def price(self, rng: np.random.Generator, contexts: Array) -> Array:
        """The highest of the other bids and the floor, by inverting `chance`."""
        market, level = self._market(contexts), rng.random(len(contexts))
        left, right = np.full(len(contexts), -9.0), np.full(len(contexts), 6.0)
        for _ in range(30):
            middle = 0.5 * (left + right)
            above = self._below(market, middle) < level
            left, right = np.where(above, middle, left), np.where(above, right, middle)
        return np.exp(right)


class FirstPrice(_Auction):
    name = "first price"
    SHADED = 0.8
    parts = (
        Part("won", "logit", rises=1, weight="-action"),
        Part("value", "log", given="won"),
    )

    def draw(
        self, rng: np.random.Generator, contexts: Array, actions: Array
    ) -> dict[str, Array]:
        won = (self.price(rng, contexts) < actions).astype(float)
        value = self.worth(contexts) * rng.gamma(1.5, 1.0 / 1.5, len(contexts))
        return {"won": won, "value": value * won}

    def means(self, contexts: Array, actions: Array) -> dict[str, Array]:
        return {"won": self.chance(contexts, actions), "value": self.worth(contexts)}

    def reward(
        self, contexts: Array, actions: Array, outcomes: Mapping[str, Array]
    ) -> Array:
        return np.asarray((outcomes["value"] - actions) * outcomes["won"])


class SecondPrice(_Auction):
    name = "second price"
    SHADED = 0.2
    parts = (
        Part("won", "logit", rises=1, weight=0.0),
        Part("revenue", "log", given="won"),
        Part("paid", "log", rises=1, weight=-1.0, given="won"),
    )
    CLICK = 0.35  # what is won is clicked, and only then worth something

    def draw(
        self, rng: np.random.Generator, contexts: Array, actions: Array
    ) -> dict[str, Array]:
        price = self.price(rng, contexts)
        won = price < actions
        clicked = won & (rng.random(len(contexts)) < self.CLICK)
        value = self.worth(contexts) * rng.gamma(4.0, 0.25, len(contexts)) / self.CLICK
        paid = price * won
        return {"won": won.astype(float), "revenue": value * clicked, "paid": paid}

    def means(self, contexts: Array, actions: Array) -> dict[str, Array]:
        market, ends = self._market(contexts), np.log(actions)
        chance = self._below(market, ends)
        # The mean of a price below a bid, by parts: b G(b) less the integral of G up to
        # b, over logarithms.
        below, width = np.zeros(len(contexts)), 0.5 * (ends - _LOWEST)
        for node, weight in zip(_NODES, _WEIGHTS, strict=True):
            at = _LOWEST + width * (1.0 + node)
            below += weight * width * np.exp(at) * self._below(market, at)
        paid = actions - below / np.maximum(chance, 1e-12)
        return {"won": chance, "revenue": self.worth(contexts), "paid": paid}

    def reward(
        self, contexts: Array, actions: Array, outcomes: Mapping[str, Array]
    ) -> Array:
        return np.asarray((outcomes["revenue"] - outcomes["paid"]) * outcomes["won"])


# -- prices ------------------------------------------------------------------

REGIONS = 8


class Pricing(World):
    """Units sold at a price; the log has the middle of the price list only."""

    name = "pricing"
    actions = np.round(np.geomspace(3.0, 24.0, 19), 2)
    parts = (Part("units", "log", rises=-1, weight="action - x0"),)
    LOGGED = slice(4, 14)  # of the price list

    def contexts(self, rng: np.random.Generator, rows: int) -> Array:
        cost = rng.uniform(2.5, 6.0, rows)
        other = cost * np.exp(0.55 + 0.25 * rng.normal(size=rows))
        season = rng.uniform(0.0, 2.0 * np.pi, rows)
        weekend = rng.random(rows) < 2.0 / 7.0
        rating, stock, traffic, age, noise = rng.normal(size=(5, rows))
        region = np.eye(REGIONS)[rng.choice(REGIONS, rows)]
        numbers = [cost, other, np.sin(season), np.cos(season), weekend]
        return np.column_stack([*numbers, rating, stock, traffic, age, noise, region])

    def means(self, contexts: Array, actions: Array) -> dict[str, Array]:
        cost, other, sine, _, weekend, rating, stock, traffic, age, _ = contexts[:, :10].T
        effect = contexts[:, 10:] @ np.linspace(-0.5, 0.5, REGIONS)
        size = 1.1 + 0.3 * np.tanh(traffic) * (1.0 + 0.5 * weekend) + effect
        size = size + 0.25 * np.sin(rating + sine) + 0.15 * np.tanh(stock)
        # Those who may buy elsewhere leave above the other shop's price.
        elasticity = 1.6 + 0.9 * expit(1.5 * age - rating) + 0.4 * effect * sine
        leave = 0.3 + 0.4 * expit(traffic + effect)
        gone = leave * ndtr((np.log(actions / other) - 0.05) / 0.12)
        relative = np.log(actions / (1.7 * cost))
        units = np.exp(size - elasticity * relative - 0.5 * relative * np.abs(relative))
        return {"units": np.asarray(units * (1.0 - gone))}

    def logged(self, rng: np.random.Generator, contexts: Array) -> tuple[Array, Array]:
        cost, other = contexts[:, :2].T
        prices = self.actions[self.LOGGED]
        target = np.log(0.5 * (1.6 * cost + 0.95 * other))
        distance = (np.log(prices) - target[:, None]) / 0.25
        shares = np.exp(-0.5 * np.minimum(distance**2, 200.0))
        shares = 0.9 * shares / shares.sum(1, keepdims=True) + 0.1 / len(prices)
        drawn = (shares.cumsum(1) < rng.random((len(contexts), 1))).sum(1)
        drawn = np.minimum(drawn, len(prices) - 1)
        return prices[drawn], shares[np.arange(len(drawn)), drawn]

    def draw(
        self, rng: np.random.Generator, contexts: Array, actions: Array
    ) -> dict[str, Array]:
        units = rng.poisson(self.means(contexts, actions)["units"])
        return {"units": units.astype(float)}

    def reward(
        self, contexts: Array, actions: Array, outcomes: Mapping[str, Array]
    ) -> Array:
        return np.asarray(outcomes["units"] * (actions - contexts[:, 0]))


# -- doses -------------------------------------------------------------------

COVARIATES = 50


class Dosing(World):
    """Any dose in [0, 1]; benefit and harm are measured apart, with noise."""

    name = "dosing"
    actions = None
    HARM = 2.0  # what a unit of harm weighs
    parts = (
        Part("benefit", "identity", rises=1, bends=-1),
        Part("harm", "identity", rises=1, bends=1, weight=-HARM),
    )
    _MIX = np.random.default_rng(7).normal(size=(COVARIATES, COVARIATES)) / 12.0

    def contexts(self, rng: np.random.Generator, rows: int) -> Array:
        normal = rng.normal(size=(rows, COVARIATES))
        found = normal + normal @ self._MIX
        found[:, 40:] = found[:, 40:] > 0.3  # illnesses, other drugs
        return np.asarray(found)

    def _patient(self, contexts: Array) -> tuple[Array, Array, Array, Array]:
        x = contexts.T
        most = 1.6 + 1.3 * np.tanh(x[0] + 0.6 * x[1] * x[2]) + 0.6 * x[40]
        half = 0.08 + 0.5 * expit(1.2 * x[3] - x[4] * x[41] + 0.5 * np.sin(2.0 * x[0]))
        harm = 0.8 * np.exp(0.6 * x[5] + 0.4 * x[42] * np.tanh(x[6]) - 0.2 * x[1])
        power = 1.5 + 2.0 * expit(x[7] + 0.8 * x[8] * x[9])
        return most, half, harm, power

    def means(self, contexts: Array, actions: Array) -> dict[str, Array]:
        most, half, harm, power = self._patient(contexts)
        base = 0.5 * contexts[:, 10] + 0.3 * np.abs(contexts[:, 11])
        benefit = base + most * actions * (1.0 + half) / (actions + half)
        burden = 0.2 * np.maximum(contexts[:, 12], 0.0) + harm * actions**power
        return {"benefit": benefit, "harm": burden}

    def logged(self, rng: np.random.Generator, contexts: Array) -> tuple[Array, Array]:
        # A beta density around what the doctor thinks right.
        middle = expit(0.5 * contexts[:, 0] - 0.5 * contexts[:, 5] - 0.3)
        one, two = 0.5 + 3.0 * middle, 0.5 + 3.0 * (1.0 - middle)
        doses = rng.beta(one, two).clip(1e-6, 1.0 - 1e-6)
        from scipy.stats import beta

        return doses, np.asarray(beta.pdf(doses, one, two))

    def draw(
        self, rng: np.random.Generator, contexts: Array, actions: Array
    ) -> dict[str, Array]:
        means = self.means(contexts, actions)
        rows = len(contexts)
        return {
            "benefit": means["benefit"] + rng.normal(0.0, 0.8, rows),
            "harm": means["harm"] + rng.normal(0.0, 0.4, rows),
        }

    def reward(
        self, contexts: Array, actions: Array, outcomes: Mapping[str, Array]
    ) -> Array:
        return np.asarray(outcomes["benefit"] - self.HARM * outcomes["harm"])


WORLDS: dict[str, World] = {
    world.name: world for world in (FirstPrice(), SecondPrice(), Pricing(), Dosing())
}
