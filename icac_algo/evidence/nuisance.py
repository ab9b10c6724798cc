r"""Cross-fitted nuisance models of a log: expected rewards and propensities.

Both are fitted on all folds but one and read on that one, so that a row's own noise is
never in its own prediction (Chernozhukov et al., "Double/debiased machine learning for
treatment and structural parameters", 2018).
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import torch

from ..data import LoggedSteps

__all__ = [
    "action_scores",
    "cross_fitted_propensities",
    "cross_fitted_rewards",
    "folds_of",
    "regression_weights",
]

FloatArray = npt.NDArray[np.float64]
FOLDS = 5
# Beyond so many features their products would be more than the rows.
_MAX_FEATURES_FOR_PRODUCTS = 12
_SMALLEST_PROPENSITY = 1e-3


def folds_of(steps: LoggedSteps, seed: int) -> npt.NDArray[np.int64]:
    """A fold for each row, ``(N,)``; an episode stays in one."""
    episodes = int(steps.episodes[-1]) + 1
    drawn = np.random.default_rng(seed).permutation(episodes) % FOLDS
    return drawn[steps.episodes]


def cross_fitted_rewards(steps: LoggedSteps, folds: npt.NDArray[np.int64]) -> FloatArray:
    """Predicted reward of every action, ``(N, K)``: a ridge regression for each.

    Quadratic in the observation; an action that a fold never saw gets its mean reward.
    """
    features = _features(steps.observations)
    predicted = np.empty((len(steps), steps.action_size))
    for fold in range(FOLDS):
        train, held_out = folds != fold, folds == fold
        mean = steps.rewards[train].mean() if train.any() else 0.0
        for action in range(steps.action_size):
            rows = train & (steps.actions == action)
            predicted[held_out, action] = (
                features[held_out] @ _ridge(features[rows], steps.rewards[rows])
                if rows.any()
                else mean
            )
    return predicted


def regression_weights(steps: LoggedSteps, probabilities: FloatArray) -> FloatArray:
    r"""How much each row's noise moves the regressions' mean under a policy, ``(N,)``.

    The mean prediction :math:`\frac1n \sum_j \sum_k \pi_k(s_j) \hat m_k(s_j)` is
    linear in the rewards; row i of action k has the weight
    :math:`\sum_j \pi_k(s_j) \phi(s_j)^\top G_k^{-1} \phi(s_i)` over n, with features
    :math:`\phi` and their Gram matrix :math:`G_k`.

    Args:
        steps: the log.
        probabilities: of every action under the policy, ``(N, K)``.
    """
    features = _features(steps.observations)
    weights = np.zeros(len(steps))
    for action in range(steps.action_size):
        rows = steps.actions == action
        if rows.any():
            target = probabilities[:, action] @ features
            gram = _shrunk(features[rows].T @ features[rows])
            weights[rows] = features[rows] @ np.linalg.solve(gram, target)
    return weights


def cross_fitted_propensities(
    steps: LoggedSteps, folds: npt.NDArray[np.int64]
) -> FloatArray:
    """Estimated probability of every action, ``(N, K)``: a multinomial logit.

    Bounded away from zero, as no estimate can tell how small a small one is.
    """
    features = _features(steps.observations)
    predicted = np.empty((len(steps), steps.action_size))
    for fold in range(FOLDS):
        train, held_out = folds != fold, folds == fold
        if not train.any():
            train = held_out
        weights = _logit(features[train], steps.actions[train], steps.action_size)
        scores = features[held_out] @ weights
        scores -= scores.max(axis=1, keepdims=True)
        odds = np.exp(scores)
        predicted[held_out] = odds / odds.sum(axis=1, keepdims=True)
    return np.maximum(predicted, _SMALLEST_PROPENSITY)


def action_scores(steps: LoggedSteps, seed: int = 0) -> FloatArray:
    r"""Doubly robust scores, ``(N, K)``, whose means are the actions' expected rewards.

    .. math:: \psi_k = \hat m_k(s) + \frac{1\{a = k\}}{e(k \mid s)} (r - \hat m_k(s))

    With logged propensities unbiased whatever :math:`\hat m` is; without, propensities
    are estimated and either model may be wrong (Dudik, Langford and Li, "Doubly robust
    policy evaluation and learning", 2011).
    """
    folds = folds_of(steps, seed)
    scores = cross_fitted_rewards(steps, folds)
    rows = np.arange(len(steps))
    if steps.propensities is None:
        propensities = cross_fitted_propensities(steps, folds)[rows, steps.actions]
    else:
        propensities = steps.propensities
    surprise = steps.rewards - scores[rows, steps.actions]
    scores[rows, steps.actions] += surprise / propensities
    return scores


# -- models ------------------------------------------------------------------


def _features(observations: npt.NDArray[np.float32]) -> FloatArray:
    """Intercept, standardised features and, of a few, their products, ``(N, p)``."""
    x = observations.astype(np.float64)
    spread = x.std(axis=0)
    x = (x - x.mean(axis=0)) / np.where(spread > 0.0, spread, 1.0)
    parts = [np.ones((len(x), 1)), x]
    if x.shape[1] <= _MAX_FEATURES_FOR_PRODUCTS:
        upper = np.triu_indices(x.shape[1])
        parts.append(x[:, upper[0]] * x[:, upper[1]])
    return np.concatenate(parts, axis=1)


def _ridge(features: FloatArray, targets: FloatArray) -> FloatArray:
    gram = _shrunk(features.T @ features)
    return np.asarray(np.linalg.solve(gram, features.T @ targets))


def _shrunk(gram: FloatArray) -> FloatArray:
    # The intercept, which is first, is not shrunk.
    penalty = np.ones(len(gram))
    penalty[0] = 1e-9
    return np.asarray(gram + np.diag(penalty))


def _logit(
    features: FloatArray, actions: npt.NDArray[np.int64], action_size: int
) -> FloatArray:
    x, y = torch.from_numpy(features), torch.from_numpy(actions)
    weights = torch.zeros(x.shape[1], action_size, dtype=torch.float64)
    weights.requires_grad_()
    solver = torch.optim.LBFGS([weights], max_iter=100, line_search_fn="strong_wolfe")

    def loss() -> torch.Tensor:
        solver.zero_grad()
        shrinkage = 0.5 * weights[1:].square().sum() / len(x)
        value = torch.nn.functional.cross_entropy(x @ weights, y) + shrinkage
        value.backward()
        return value

    solver.step(loss)
    return np.asarray(weights.detach().numpy())
