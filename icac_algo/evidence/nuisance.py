r"""Cross-fitted nuisance models of a log: expected rewards and propensities.

Both are fitted on all folds but one and read on that one, so that a row's own noise is
never in its own prediction (Chernozhukov et al., "Double/debiased machine learning for
treatment and structural parameters", 2018).  Folds hold whole episodes, one each where
there are few.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import numpy.typing as npt
from tqdm.auto import tqdm

from ..data import LoggedSteps
from .certificates import Ranges

FloatArray = npt.NDArray[np.float64]
Mask = npt.NDArray[np.bool_]
FOLDS = 5
# Of so few episodes each is left out alone.
_FEW_EPISODES = 10
# Beyond so many features their products would be more than the rows.
_MAX_FEATURES_FOR_PRODUCTS = 12
_SMALLEST_PROPENSITY = 1e-3
# Of the trees that look for where the logger does what.
_ROWS_OF_A_LEAF = 100
# Of these trees and of reward models of numbers, at most.
_ROWS_OF_A_FIT = 20_000
_PENALTIES = (1.0, 10.0, 100.0, 1000.0)
_POINTS_OF_A_RANGE = 8


@dataclasses.dataclass(frozen=True)
class RewardModel:
    """Predicted rewards, linear in known functions of the action.

    Args:
        coefficients: of D functions in each logged context, ``(N, D)``.
        basis: the functions: from actions ``(...)``, indices or numbers, to ``(..., D)``.
        means: predicted reward of each action, ``(N, K)``; of ranges of numbers the mean.
    """

    coefficients: FloatArray
    basis: Callable[[npt.NDArray[Any]], FloatArray]
    means: FloatArray

    @classmethod
    def given(cls, steps: LoggedSteps, predicted: FloatArray) -> RewardModel:
        """From predictions of every action, ``(N, K)``; of numbers at the middles."""
        unit = np.eye(steps.action_size)
        if steps.edges is None:
            return cls(predicted, lambda actions: unit[actions], predicted)
        middles = (steps.edges[1:] + steps.edges[:-1]) / 2.0

        def lines(numbers: npt.NDArray[Any]) -> FloatArray:
            return np.stack([np.interp(numbers, middles, one) for one in unit], axis=-1)

        return cls._of_numbers(steps, predicted, lines)

    @classmethod
    def _of_numbers(
        cls,
        steps: LoggedSteps,
        coefficients: FloatArray,
        basis: Callable[[npt.NDArray[Any]], FloatArray],
    ) -> RewardModel:
        means = coefficients @ basis(_inside(steps)).mean(axis=1).T
        return cls(coefficients, basis, means)

    def at(self, actions: npt.NDArray[Any]) -> FloatArray:
        """Predicted reward of an action for each row, ``(N,)``."""
        return np.asarray(np.einsum("nd,nd->n", self.coefficients, self.basis(actions)))


def done(steps: LoggedSteps) -> npt.NDArray[Any]:
    """What was done, as a reward model takes it: indices, or numbers, ``(N,)``."""
    return steps.actions if steps.numbers is None else steps.numbers


def _inside(steps: LoggedSteps) -> FloatArray:
    """Numbers that stand for each range's, ``(K, M)``: of its width, or of its rows."""
    ranges = Ranges.of(steps, np.empty(0))
    shares = (np.arange(_POINTS_OF_A_RANGE) + 0.5) / _POINTS_OF_A_RANGE
    if ranges.inside is None:
        return ranges.lower[:, None] + (ranges.upper - ranges.lower)[:, None] * shares
    return np.stack([np.quantile(one, shares) for one in ranges.inside])


def action_scores(
    steps: LoggedSteps, seed: int = 0, show_progress: bool = False
) -> FloatArray:
    r"""Doubly robust scores, ``(N, K)``, whose means are the actions' expected rewards.

    .. math:: \psi_k = \hat m_k(s) + \frac{1\{a = k\}}{e(k \mid s)} (r - \hat m_k(s))

    With logged propensities unbiased whatever :math:`\hat m` is; without, propensities
    are estimated and either model may be wrong (Dudik, Langford and Li, "Doubly robust
    policy evaluation and learning", 2011).  Of numbers the K actions are ranges.
    """
    model = cross_fitted_rewards(steps, seed, show_progress)
    surprise = steps.rewards - model.at(done(steps))
    scores = model.means.copy()
    scores[np.arange(len(steps)), steps.actions] += surprise / logged_propensities(
        steps, seed, show_progress
    )
    return scores


def cross_fitted_rewards(
    steps: LoggedSteps, seed: int, show_progress: bool = False
) -> RewardModel:
    """Predicted reward of every action: a ridge regression for each.

    Quadratic in the observation; an action that a fold never saw gets its mean reward.
    Of numbers it is :func:`smooth_rewards`.
    """
    from sklearn.linear_model import Ridge

    if steps.numbers is not None:
        return smooth_rewards(steps, seed=seed, show_progress=show_progress)
    features = _features(steps)
    predicted = np.empty((len(steps), steps.action_size))
    for train, held_out in _folds(steps, seed, "reward model", show_progress):
        predicted[held_out] = steps.rewards[train].mean()
        for action in np.unique(steps.actions[train]):
            rows = train & (steps.actions == action)
            model = Ridge(alpha=1.0).fit(features[rows], steps.rewards[rows])
            predicted[held_out, action] = model.predict(features[held_out])
    return RewardModel.given(steps, predicted)


def smooth_rewards(
    steps: LoggedSteps,
    positions: FloatArray | None = None,
    seed: int = 0,
    show_progress: bool = False,
) -> RewardModel:
    """Predicted reward of any number: one ridge regression, cubic in the number.

    Its terms are products of powers with a quadratic in the observation.  Actions that
    were hardly logged learn from their neighbours.

    Args:
        steps: the log.
        positions: of discrete actions, ``(K,)``.
        seed: of folds.
        show_progress: whether to show a bar.
    """
    from sklearn.linear_model import Ridge, RidgeCV

    features = np.column_stack([np.ones(len(steps)), _features(steps)])
    numbers = steps.numbers if positions is None else positions[steps.actions]
    assert numbers is not None
    basis = _powers(numbers)
    powers = basis(numbers)
    coefficients = np.empty((len(steps), powers.shape[1]))
    for train, held_out in _folds(steps, seed, "reward model", show_progress):
        rows = _some(train, seed)
        # The first product is the intercept's.
        design = _products(features[rows], powers[rows])[:, 1:]
        # One row says nothing of penalties.
        model = RidgeCV(_PENALTIES) if len(rows) > 1 else Ridge(_PENALTIES[-1])
        fitted = model.fit(design, steps.rewards[rows])
        weights = np.concatenate([[fitted.intercept_], fitted.coef_])
        weights = weights.reshape(features.shape[1], -1)
        coefficients[held_out] = features[held_out] @ weights
    if positions is not None:
        return RewardModel.given(steps, coefficients @ basis(positions).T)
    return RewardModel._of_numbers(steps, coefficients, basis)


def _powers(numbers: FloatArray) -> Callable[[npt.NDArray[Any]], FloatArray]:
    """Powers of numbers on the scale of these."""
    # Of one action alone there is no spread.
    middle, spread = numbers.mean(), numbers.std() or 1.0
    return lambda x: np.vander(((x - middle) / spread).ravel(), 4, True).reshape(
        *x.shape, 4
    )


def _products(features: FloatArray, powers: FloatArray) -> FloatArray:
    return (features[:, :, None] * powers[:, None, :]).reshape(len(features), -1)


def regression_weights(steps: LoggedSteps, probabilities: FloatArray) -> FloatArray:
    r"""How much each row's noise moves the regressions' mean under a policy, ``(N,)``.

    The mean prediction :math:`\frac1n \sum_j \sum_k \pi_k(s_j) \hat m_k(s_j)` is
    linear in the rewards; row i of action k has the weight
    :math:`\sum_j \pi_k(s_j) \phi(s_j)^\top G_k^{-1} \phi(s_i)` over n, with features
    :math:`\phi`, an intercept among them, and their Gram matrix :math:`G_k`.  Of numbers
    the features are products with powers of the number, and ``probabilities`` are what
    the policy would do, ``(N,)``.
    """
    features = np.column_stack([np.ones(len(steps)), _features(steps)])
    if steps.numbers is not None:
        basis = _powers(steps.numbers)
        size = 4 * features.shape[1]
        gram, target = 1e-9 * np.eye(size), np.zeros(size)
        gram[1:, 1:] += np.eye(size - 1)
        pieces = np.array_split(np.arange(len(steps)), 1 + len(steps) // _ROWS_OF_A_FIT)
        for rows in pieces:
            design = _products(features[rows], basis(steps.numbers[rows]))
            gram += design.T @ design
            target += _products(features[rows], basis(probabilities[rows])).sum(axis=0)
        solved = np.linalg.solve(gram, target)
        return np.concatenate(
            [_products(features[r], basis(steps.numbers[r])) @ solved for r in pieces]
        )
    # The ridge's penalty, which leaves the intercept alone.
    penalty = np.ones(features.shape[1])
    penalty[0] = 1e-9
    weights = np.zeros(len(steps))
    for action in np.unique(steps.actions):
        rows = steps.actions == action
        target = probabilities[:, action] @ features
        gram = features[rows].T @ features[rows] + np.diag(penalty)
        weights[rows] = features[rows] @ np.linalg.solve(gram, target)
    return weights


def logged_propensities(
    steps: LoggedSteps, seed: int, show_progress: bool = False
) -> FloatArray:
    """The logger's probability of each logged action, ``(N,)``, estimated if not logged.

    A cross-fitted multinomial logit, bounded away from zero, as no estimate can tell how
    small a small probability is.  Of numbers it is that of the range.
    """
    if steps.propensities is not None:
        return steps.propensities
    from sklearn.linear_model import LogisticRegression
    from sklearn.preprocessing import StandardScaler

    # Products of the same spread as the rest, and the last fold's weights to start from,
    # take a fifth of the steps.
    features = StandardScaler().fit_transform(_features(steps))
    model, fitted = None, np.empty(0, dtype=np.int64)
    predicted = np.zeros((len(steps), steps.action_size))
    for train, held_out in _folds(steps, seed, "propensities", show_progress):
        seen = np.unique(steps.actions[train])
        chances: npt.ArrayLike = 1.0
        if len(seen) > 1:
            # Of two classes there is one vector of weights, their difference: half the
            # penalty makes it the same model as of more classes.
            strength = 2.0 if len(seen) == 2 else 1.0
            if model is None or not np.array_equal(seen, fitted):
                model = LogisticRegression(
                    C=strength, tol=1e-6, max_iter=1000, warm_start=True
                )
                fitted = seen
            model.fit(features[train], steps.actions[train])
            chances = model.predict_proba(features[held_out])
        predicted[np.ix_(held_out, seen)] = chances
    logged = predicted[np.arange(len(steps)), steps.actions]
    return np.maximum(logged, _SMALLEST_PROPENSITY)


def action_chances(
    steps: LoggedSteps, seed: int, show_progress: bool = False
) -> FloatArray:
    """About how often the logger takes every action in such contexts, ``(N, K)``.

    Shares in the leaves of cross-fitted trees, which see where a rule of the logger's
    begins; 0 where nothing like it was logged.
    """
    from sklearn.tree import DecisionTreeClassifier

    found = np.zeros((len(steps), steps.action_size))
    for train, held_out in _folds(steps, seed, "logger", show_progress):
        rows = _some(train, seed)
        model = DecisionTreeClassifier(
            min_samples_leaf=_ROWS_OF_A_LEAF, random_state=seed
        ).fit(steps.observations[rows], steps.actions[rows])
        chances = model.predict_proba(steps.observations[held_out])
        found[np.ix_(held_out, model.classes_)] = chances
    return found


def _some(train: Mask, seed: int) -> npt.NDArray[np.int64]:
    """Numbers of rows to fit on: all, or by chance as many as a fit takes."""
    rows = np.flatnonzero(train)
    if len(rows) <= _ROWS_OF_A_FIT:
        return rows
    draws = np.random.default_rng(seed)
    return draws.choice(rows, _ROWS_OF_A_FIT, replace=False)


def _folds(
    steps: LoggedSteps, seed: int, what: str, show_progress: bool
) -> Iterator[tuple[Mask, Mask]]:
    """Rows to fit on and rows to predict; an episode stays in one fold."""
    if len(steps) < 2:
        raise ValueError(
            "dataset must have at least two logged steps, one to fit a model on and one "
            "to predict, got one"
        )
    count = len(steps.starts)
    units = np.repeat(np.arange(count), np.diff(steps.starts, append=len(steps)))
    if count == 1:
        # No other episode to fit on: its own rows, which may hang together.
        count, units = len(steps), np.arange(len(steps))
    of_row = folds_of(count, seed)[units]
    # Short work shows nothing.
    for fold in tqdm(range(of_row.max() + 1), what, delay=2.0, disable=not show_progress):
        held_out = of_row == fold
        yield ~held_out, held_out


def folds_of(count: int, seed: int) -> npt.NDArray[np.int64]:
    """Each episode's fold, ``(G,)``; of few episodes each is one of its own."""
    folds = count if count <= _FEW_EPISODES else FOLDS
    return np.asarray(np.random.default_rng(seed).permutation(count) % folds)


def _features(steps: LoggedSteps) -> FloatArray:
    return polynomials(steps.observations)


def polynomials(
    observations: npt.NDArray[Any], fitted_to: npt.NDArray[Any] | None = None
) -> FloatArray:
    """Standardised features and, of a few, their products, ``(N, p)``.

    ``fitted_to`` has the mean and the spread, if not these observations.
    """
    from sklearn.preprocessing import PolynomialFeatures, StandardScaler

    basis = observations if fitted_to is None else fitted_to
    x = StandardScaler().fit(basis.astype(np.float64)).transform(observations)
    degree = 2 if x.shape[1] <= _MAX_FEATURES_FOR_PRODUCTS else 1
    return np.asarray(PolynomialFeatures(degree, include_bias=False).fit_transform(x))
