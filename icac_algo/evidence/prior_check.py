"""``check_prior``: is ``E[reward | context, action]`` consistent with a shape?

The mean reward of every action in every region of contexts is estimated by doubly robust
scores, so that a logger who bids by context does not deceive; every inequality of the
shape in every region is tested at once.
"""

from __future__ import annotations

import itertools
import warnings
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from scipy.special import ndtri

from .._util.checks import check_choice, check_count, check_number, check_seed
from ..data import LoggedSteps, logged_steps
from ..shapes import Constraint
from .nuisance import action_scores
from .prior_report import Contrast, Curve, PriorCheck
from .simultaneous_tests import SELECTION_ERROR, action_contrasts, max_test

FloatArray = npt.NDArray[np.float64]
Mask = npt.NDArray[np.bool_]
Region = Callable[[npt.NDArray[np.float32]], Any]
_MAX_FEATURES = 8
# From fewer episodes the correlation of their steps cannot be estimated.
_EPISODES_FOR_CLUSTERS = 50


class PriorWarning(UserWarning):
    """The log contradicts the shape that is about to be imposed, or cannot judge it."""


class PriorRejectedError(ValueError):
    """The log contradicts the shape; ``check`` holds the whole result."""

    def __init__(self, check: PriorCheck):
        super().__init__(f"the log contradicts the constraint: {check.explanation}")
        self.check = check


def check_prior(
    dataset: Any,
    constraint: Constraint,
    *,
    level: float = 0.05,
    regions: Mapping[str, Region] | None = None,
    feature_names: Sequence[str] | None = None,
    propensities: npt.ArrayLike | None = None,
    min_support: int = 30,
    draws: int = 4000,
    seed: int = 0,
) -> PriorCheck:
    """Tests a shape against logged rewards before it is imposed.

    Tests :math:`E[r | s, a]`, which is Q itself where actions do not change later
    contexts.  Campaigns of 50 episodes or more are clustered by episode.

    Args:
        dataset: a log, as :func:`~icac_algo.data.logged_steps` takes it.
        constraint: the shape; a known cost (``known_cost``) is added back.
        level: chance to reject a shape that is true, in (0.002, 0.5].
        regions: name to a function from observations ``(N, d)`` to booleans ``(N,)``;
            by default the lower and the upper half of each of the first 8 features, and
            the quarters of the first two.  All contexts together always count.
        feature_names: for the names of the regions.
        propensities: as in ``logged_steps``; estimated where there are none.
        min_support: effective logged steps that every action of an inequality needs.
        draws: of the bootstrap.
        seed: of folds and bootstrap.

    Raises:
        TypeError: the dataset is of no known kind.
        ValueError: an argument is out of bounds, or the log cannot be read.
    """
    if not isinstance(constraint, Constraint):
        raise ValueError(
            f"constraint must be a shape such as Concave(), got {constraint!r}"
        )
    check_number("level", level, above=4.0 * SELECTION_ERROR, at_most=0.5)
    check_count("min_support", min_support)
    check_count("draws", draws)
    check_seed(seed)
    _check_names(regions, feature_names)
    steps = logged_steps(dataset, propensities)
    positions = constraint.positions(steps.action_size)
    constraint.check_observation_shape(steps.observations.shape[1:])
    masks = _regions(steps.observations, regions, feature_names)
    if constraint.known_cost is not None:
        chosen = torch.from_numpy(positions[steps.actions][:, None])
        cost = constraint.known_cost(torch.from_numpy(steps.observations), chosen)
        steps = steps.with_rewards(steps.rewards + cost[:, 0].numpy())
    scores = action_scores(steps, seed)
    support = np.stack([_support(steps, mask) for mask in masks.values()])
    means = np.stack([scores[mask].mean(axis=0) for mask in masks.values()])
    influence = [
        np.where(mask[:, None], scores - mean, 0.0) / mask.mean()
        for mask, mean in zip(masks.values(), means, strict=True)
    ]
    covariance = _covariance(np.concatenate(influence, axis=1), steps)
    tested = [
        (r, name, contrast)
        for contrast in action_contrasts(constraint.shape_set(), positions)
        for r, name in enumerate(masks)
        if (support[r, list(contrast.actions)] >= min_support).all()
    ]
    contrasts: list[Contrast] = []
    p_value = None
    if tested:
        loadings = np.zeros((len(tested), *means.shape))
        for row, (r, _, contrast) in zip(loadings, tested, strict=True):
            row[r] = contrast.weights
        matrix = loadings.reshape(len(tested), -1)
        slack = matrix @ means.reshape(-1) - [contrast.bound for *_, contrast in tested]
        test = max_test(slack, matrix, covariance, level, draws, seed)
        p_value = test.p_value
        errors = (test.upper - test.lower) / 2.0
        # Nothing counts as missed while the whole shape is not rejected.
        missed = test.rejected & (test.p_value <= level)
        for i in np.argsort(slack / np.maximum(errors, 1e-300), kind="stable"):
            _, name, contrast = tested[i]
            contrasts.append(
                Contrast(
                    name,
                    contrast.kind,
                    contrast.actions,
                    float(slack[i]),
                    float(test.lower[i]),
                    float(test.upper[i]),
                    bool(missed[i]),
                )
            )
    unsupported = tuple(int(a) for a in np.flatnonzero(support[0] < min_support))
    verdict = "not rejected"
    if p_value is not None and p_value <= level:
        verdict = "rejected"
    elif p_value is None or unsupported:
        verdict = "cannot tell"
    deviations = np.sqrt(np.diag(covariance)).reshape(means.shape)
    half_widths = ndtri(1.0 - level / 2.0) * deviations
    curves = []
    for r, (name, mask) in enumerate(masks.items()):
        values = np.where(support[r] >= min_support, means[r], np.nan)
        nearest = _nearest(values, constraint, positions)
        share = float(mask.mean())
        curves.append(Curve(name, share, values, half_widths[r], nearest, support[r]))
    return PriorCheck(
        constraint=constraint,
        verdict=verdict,
        p_value=p_value,
        level=level,
        steps=len(steps),
        propensities="estimated" if steps.propensities is None else "logged",
        positions=positions,
        contrasts=contrasts,
        curves=curves,
        without_support=unsupported,
        min_support=min_support,
    )


def check_prior_at_fit(dataset: Any, constraint: Constraint, mode: str) -> None:
    """Checks a shape before training, as ``ConstraintAwareQConfig(check_prior=...)``.

    ``mode`` is ``"warn"``, ``"error"`` or ``"off"``.

    Raises:
        PriorRejectedError: the shape is rejected and ``mode`` is ``"error"``.
        ValueError: the mode is unknown, or the log is not one that can be checked.
    """
    check_choice("check_prior", mode, ("warn", "error", "off"))
    if mode == "off":
        return
    check = check_prior(dataset, constraint)
    if check.rejected and mode == "error":
        raise PriorRejectedError(check)
    if check.verdict != "not rejected":
        warnings.warn(check.explanation, PriorWarning, stacklevel=4)


def _check_names(
    regions: Mapping[str, Region] | None, names: Sequence[str] | None
) -> None:
    if regions is not None and not (
        isinstance(regions, Mapping)
        and all(isinstance(name, str) for name in regions)
        and all(callable(region) for region in regions.values())
    ):
        raise ValueError(f"regions must map names to functions, got {regions!r}")
    if regions is not None and "all" in regions:
        raise ValueError("regions must not name one 'all': all contexts always count")
    if names is not None and not (
        isinstance(names, (list, tuple))
        and all(isinstance(name, str) for name in names)
        and len(set(names)) == len(names)
    ):
        raise ValueError(
            f"feature_names must be a list of different names, got {names!r}"
        )


def _regions(
    observations: npt.NDArray[np.float32],
    regions: Mapping[str, Region] | None,
    names: Sequence[str] | None,
) -> dict[str, Mask]:
    count, width = observations.shape
    if names is None:
        names = [f"feature {feature}" for feature in range(width)]
    elif len(names) != width:
        raise ValueError(
            f"feature_names must have one name for each of {width} features, "
            f"got {len(names)}"
        )
    if regions is None:
        found = _halves_and_quarters(observations, names)
    else:
        found = {
            name: np.asarray(region(observations)) for name, region in regions.items()
        }
    for name, mask in found.items():
        if mask.shape != (count,) or mask.dtype != np.bool_:
            raise ValueError(
                f"regions[{name!r}] must give one boolean for each of {count} "
                f"observations, got {mask.dtype} of shape {mask.shape}"
            )
    every = np.ones(count, dtype=bool)
    return {"all": every, **{name: mask for name, mask in found.items() if mask.any()}}


def _halves_and_quarters(
    observations: npt.NDArray[np.float32], names: Sequence[str]
) -> dict[str, Mask]:
    """Halves of each of the first features, and the quarters of the first two."""
    halves: list[dict[str, Mask]] = []
    for name, values in zip(names[:_MAX_FEATURES], observations.T, strict=False):
        middle = np.median(values)
        # Where most values are the largest one, it is the upper half.
        below, above = ("<=", ">") if values.max() > middle else ("<", ">=")
        low = values <= middle if below == "<=" else values < middle
        if low.any() and not low.all():
            edge = f"{float(middle):.3g}"
            halves.append({f"{name} {below} {edge}": low, f"{name} {above} {edge}": ~low})
    quarters = {}
    if len(halves) > 1:
        for (a, first), (b, second) in itertools.product(
            *(h.items() for h in halves[:2])
        ):
            quarters[f"{a} and {b}"] = first & second
    return {name: mask for part in [*halves, quarters] for name, mask in part.items()}


def _support(steps: LoggedSteps, mask: Mask) -> FloatArray:
    """Effective number of steps with each action (Kish): ``(sum w)^2 / sum w^2``."""
    actions = steps.actions[mask]
    size = steps.action_size
    if steps.propensities is None:
        return np.bincount(actions, minlength=size).astype(np.float64)
    weights = 1.0 / steps.propensities[mask]
    total = np.bincount(actions, weights, minlength=size)
    squares = np.bincount(actions, weights**2, minlength=size)
    return np.asarray(total**2 / np.maximum(squares, 1e-300))


def _covariance(influence: FloatArray, steps: LoggedSteps) -> FloatArray:
    count = len(influence)
    episodes = steps.episodes
    starts = np.flatnonzero(np.diff(episodes, prepend=episodes[0] - 1))
    clusters = len(starts)
    if _EPISODES_FOR_CLUSTERS <= clusters < count:
        summed = np.add.reduceat(influence, starts, axis=0)
        return summed.T @ summed / count**2 * clusters / (clusters - 1)
    return influence.T @ influence / count / max(count - 1, 1)


def _nearest(
    values: FloatArray, constraint: Constraint, positions: FloatArray
) -> FloatArray:
    """The nearest curve with the shape, of the actions that are not NaN."""
    known = np.isfinite(values)
    nearest = values.copy()
    if known.sum() > 1:
        rows = torch.from_numpy(values[known])[None]
        nearest[known] = constraint.project_gross(rows, positions[known])[0].numpy()
    return nearest
