r"""Cross-fitted nuisance models of a log: expected rewards and propensities.

Both are fitted on all folds but one and read on that one, so that a row's own noise is
never in its own prediction (Chernozhukov et al., "Double/debiased machine learning for
treatment and structural parameters", 2018).  Folds hold whole episodes, one each where
there are few.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt
from tqdm.auto import tqdm

from ..data import LoggedSteps

FloatArray = npt.NDArray[np.float64]
Mask = npt.NDArray[np.bool_]
FOLDS = 5
# Of so few episodes each is left out alone.
_FEW_EPISODES = 10
# Beyond so many features their products would be more than the rows.
_MAX_FEATURES_FOR_PRODUCTS = 12
_SMALLEST_PROPENSITY = 1e-3


def action_scores(
    steps: LoggedSteps, seed: int = 0, show_progress: bool = False
) -> FloatArray:
    r"""Doubly robust scores, ``(N, K)``, whose means are the actions' expected rewards.

    .. math:: \psi_k = \hat m_k(s) + \frac{1\{a = k\}}{e(k \mid s)} (r - \hat m_k(s))

    With logged propensities unbiased whatever :math:`\hat m` is; without, propensities
    are estimated and either model may be wrong (Dudik, Langford and Li, "Doubly robust
    policy evaluation and learning", 2011).
    """
    scores = cross_fitted_rewards(steps, seed, show_progress)
    rows = np.arange(len(steps))
    surprise = steps.rewards - scores[rows, steps.actions]
    scores[rows, steps.actions] += surprise / logged_propensities(
        steps, seed, show_progress
    )
    return scores


def cross_fitted_rewards(
    steps: LoggedSteps, seed: int, show_progress: bool = False
) -> FloatArray:
    """Predicted reward of every action, ``(N, K)``: a ridge regression for each.

    Quadratic in the observation; an action that a fold never saw gets its mean reward.
    """
    from sklearn.linear_model import Ridge

    features = _features(steps)
    predicted = np.empty((len(steps), steps.action_size))
    for train, held_out in _folds(steps, seed, "reward model", show_progress):
        predicted[held_out] = steps.rewards[train].mean()
        for action in np.unique(steps.actions[train]):
            rows = train & (steps.actions == action)
            model = Ridge(alpha=1.0).fit(features[rows], steps.rewards[rows])
            predicted[held_out, action] = model.predict(features[held_out])
    return predicted


def regression_weights(steps: LoggedSteps, probabilities: FloatArray) -> FloatArray:
    r"""How much each row's noise moves the regressions' mean under a policy, ``(N,)``.

    The mean prediction :math:`\frac1n \sum_j \sum_k \pi_k(s_j) \hat m_k(s_j)` is
    linear in the rewards; row i of action k has the weight
    :math:`\sum_j \pi_k(s_j) \phi(s_j)^\top G_k^{-1} \phi(s_i)` over n, with features
    :math:`\phi`, an intercept among them, and their Gram matrix :math:`G_k`.
    """
    features = np.column_stack([np.ones(len(steps)), _features(steps)])
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
    small a small probability is.
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
