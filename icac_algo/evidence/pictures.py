"""What an algorithm learned, as pictures: its values by action, its policy by feature."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from .._util.checks import check_count, check_seed, is_integer
from .._util.packages import new_figure
from .near_rows import (
    AskedActions,
    NearRows,
    observations_of,
    spread_of,
    values_of,
    vectors,
)

if TYPE_CHECKING:
    from matplotlib.figure import Figure

FloatArray = npt.NDArray[np.float64]

BLUE, ORANGE, GREY = "#1b6ca8", "#d9730d", "#555555"
# Points of a map's side, and panels beside each other.
_SIDE, _ACROSS = 41, 4
# Numbers that stand upright beside each other.
_UPRIGHT = 6
# Levels that a bar of colours names one by one.
_MARKED = 8


def plot_q(
    algo: Any,
    contexts: npt.ArrayLike,
    dataset: Any = None,
    *,
    titles: Sequence[str] | None = None,
    actions: Sequence[float] | None = None,
    units: str = "action",
) -> Figure:
    """Q of every action in some contexts, the greedy action, and what the log says.

    There is a panel for each context, and below it one for each learned outcome.  Dots
    are means of logged rewards and outcomes, with 95 % intervals and numbers of rows,
    over the 5 % of rows (at least 200) that are nearest to the context in standardised
    features.  They are by action, or by ten groups of a continuous one; groups of fewer
    than five rows are left out, and long intervals go on beyond the panel.  Rewards are
    left out where more follows, as Q is then not their mean.

    .. code-block:: python

        plot_q(algo, contexts=x[:3], dataset=buffer, units="bid (EUR)")

    Args:
        algo: a built :class:`~icac_algo.ConstraintAwareQ`, or any algorithm of d3rlpy
            with values and one action, or discrete ones.
        contexts: observations, ``(M, d)``.
        dataset: a replay buffer, a Minari dataset or the id of a local one.
        titles: one for each context.
        actions: positions of discrete actions, rising, ``(K,)``, by default those of the
            shape, else 0 to K - 1; of a continuous one the ends of its range.
        units: of the action, written below.

    Raises:
        TypeError: ``algo`` or ``dataset`` is of another kind.
        ValueError: ``algo`` is not built, an argument is of another shape, or the log
            lacks an outcome.
        ImportError: matplotlib is missing.
    """
    asked = AskedActions.of(algo, actions)
    x = vectors("contexts", contexts, algo)
    if titles is None:
        titles = [f"context {i}" for i in range(len(x))]
    _check_length("titles", titles, len(x), "contexts")
    outcomes = list(getattr(algo.config, "outcomes", []))
    columns = [None, *(one.column for one in outcomes if one.learned)]
    log = None if dataset is None else NearRows.of(algo, dataset, outcomes)
    across = min(len(x), _ACROSS)
    down = -(-len(x) // across) * len(columns)
    figure = new_figure(3.5 * across, 2.6 * down + 0.6)
    panels = figure.subplots(down, across, squeeze=False)
    for panel in panels.ravel():
        panel.set_visible(False)
    chosen, places = asked.greedy(algo, x)
    for i, context in enumerate(x):
        near = None if log is None else log.near(context)
        for j, column in enumerate(columns):
            panel = panels[i // across * len(columns) + j, i % across]
            panel.set_visible(True)
            repeated = np.repeat(context[None], len(asked.places), axis=0)
            curve = values_of(algo, repeated, asked.taken, column)
            best = values_of(algo, context[None], chosen[i : i + 1], column)
            _draw(panel, asked, curve, (places[i], best[0]))
            if log is not None and near is not None:
                _draw_means(panel, log.means(column, near, asked), curve)
            if i % across == 0:
                panel.set_ylabel("Q" if column is None else column)
            if j == 0:
                panel.set_title(titles[i], fontsize=9)
        panel.set_xlabel(units, fontsize=9)
    handles = {
        label: handle
        for panel in panels.ravel()
        for handle, label in zip(*panel.get_legend_handles_labels(), strict=True)
    }
    figure.legend(handles.values(), handles, loc="outside lower center", fontsize=8)
    return figure


def plot_policy(
    algo: Any,
    dataset: Any,
    features: Sequence[int] = (0, 1),
    *,
    names: Sequence[str] | None = None,
    actions: Sequence[float] | None = None,
    units: str = "action",
) -> Figure:
    """The greedy action over two features, as a map, or over one, as a line.

    They go from the log's 1 % to its 99 % quantile; a feature that is always 0 or 1 has
    these two values.  The others are those of the row that is nearest to the median.

    Args:
        algo: as in :func:`plot_q`.
        dataset: as in :func:`plot_q`.
        features: numbers of one or two of the d features.
        names: one for each of them.
        actions: as in :func:`plot_q`.
        units: of the action.

    Raises:
        TypeError: as in :func:`plot_q`.
        ValueError: as in :func:`plot_q`; ``features`` are none, or do not vary.
        ImportError: matplotlib is missing.
    """
    asked, x = AskedActions.of(algo, actions), observations_of(algo, dataset)
    features, size = list(features), x.shape[1]
    known = all(is_integer(one) and 0 <= one < size for one in features)
    if not known or not 1 <= len(set(features)) == len(features) <= 2:
        raise ValueError(
            f"features must be one or two numbers from 0 to {size - 1}, got {features}"
        )
    if names is None:
        names = [f"feature {one}" for one in features]
    _check_length("names", names, len(features), "features")
    axes_of = [_axis(x[:, one], one) for one in features]
    middle = np.median(x, axis=0)
    scaled = (x - middle) / spread_of(x)
    base = x[np.square(scaled).sum(axis=1).argmin()]
    grid = np.meshgrid(*axes_of)
    points = np.repeat(base[None], grid[0].size, axis=0)
    for feature, values in zip(features, grid, strict=True):
        points[:, feature] = values.ravel()
    _, found = asked.greedy(algo, points)
    figure = new_figure(5.2, 3.8 if len(features) == 2 else 3.2)
    panel = figure.subplots()
    if len(features) == 2:
        ends = (*_edges(axes_of[0]), *_edges(axes_of[1]))
        style: dict[str, Any] = {"aspect": "auto", "cmap": "viridis"}
        image = panel.imshow(
            found.reshape(grid[0].shape), origin="lower", extent=ends, **style
        )
        levels = np.unique(found)
        ticks = levels if asked.discrete and len(levels) <= _MARKED else None
        figure.colorbar(image, ax=panel, label=units, ticks=ticks)
        panel.set_ylabel(names[1])
    else:
        marker = "o" if len(found) == 2 else ""
        panel.plot(axes_of[0], found, color=BLUE, lw=1.6, marker=marker)
        panel.set_ylabel(units)
        panel.grid(alpha=0.25)
    panel.set_xlabel(names[0])
    for axis, values in zip((panel.xaxis, panel.yaxis), axes_of, strict=False):
        if len(values) == 2:
            axis.set_ticks([0.0, 1.0])
    return figure


def feature_importance(
    algo: Any,
    dataset: Any,
    groups: Sequence[Sequence[int]] | None = None,
    seed: int = 0,
    rows: int = 2000,
) -> FloatArray:
    r"""What the policy is worth less if it does not know a feature, by permutation.

    .. math:: \frac1n \sum_i Q(x_i, \pi(x_i)) - Q(x_i, \pi(\tilde x_i))

    with :math:`\tilde x_i` the observation with the feature of another row (Breiman,
    "Random forests", 2001, of a policy's value in place of an error).  It is Q's own
    judgement, and at least 0 where the policy is greedy for Q.

    Args:
        algo: as in :func:`plot_q`.
        dataset: as in :func:`plot_q`.
        groups: numbers of features that are permuted together, such as those of one
            category; by default each is alone.
        seed: of the rows and permutations.
        rows: how many to take at most.

    Returns:
        one for each of the d features or G groups, in units of reward, ``(d,)`` or
        ``(G,)``.

    Raises:
        TypeError: as in :func:`plot_q`.
        ValueError: as in :func:`plot_q`; a group is empty or names no feature.
    """
    check_seed(seed)
    check_count("rows", rows)
    x = observations_of(algo, dataset)
    size = x.shape[1]
    listed = [[i] for i in range(size)] if groups is None else [[*one] for one in groups]
    for one in listed:
        if not one or not all(is_integer(i) and 0 <= i < size for i in one):
            raise ValueError(
                f"groups must be lists of numbers from 0 to {size - 1}, got {one}"
            )
    rng = np.random.default_rng(seed)
    x = x[np.sort(rng.permutation(len(x))[:rows])]

    def worth(seen: Any) -> float:
        return float(values_of(algo, x, algo.predict(seen), None).mean())

    best, found = worth(x), []
    for one in listed:
        seen = x.copy()
        seen[:, one] = x[rng.permutation(len(x))][:, one]
        found.append(best - worth(seen))
    return np.array(found)


def _draw(
    panel: Any, asked: AskedActions, curve: FloatArray, best: tuple[float, float]
) -> None:
    marker = {"marker": "o", "ms": 3.5} if asked.discrete else {}
    panel.plot(asked.places, curve, color=BLUE, lw=1.6, label="learned", **marker)
    panel.axvline(best[0], color=ORANGE, lw=1.0, ls=":")
    panel.plot(*best, "D", color=ORANGE, ms=7, label="greedy action")
    panel.grid(alpha=0.25)


def _draw_means(panel: Any, found: FloatArray, curve: FloatArray) -> None:
    if not found.size:
        return
    place, mean, lower, upper, counts = found
    label = "nearest logged rows: mean, 95 %, number"
    style: dict[str, Any] = {"color": GREY, "ms": 3.5, "lw": 1.0, "capsize": 2}
    gaps = np.maximum([mean - lower, upper - mean], 0.0)
    panel.errorbar(place, mean, gaps, fmt="s", zorder=1, label=label, **style)
    # Long intervals may go on beyond the panel; they would flatten all else.
    low, high = min(mean.min(), curve.min()), max(mean.max(), curve.max())
    if high > low:
        room = 0.3 * (high - low)
        panel.set_ylim(low - room, high + room)
    across = panel.get_xaxis_transform()
    turned = 90 if len(place) > _UPRIGHT else 0
    for at, count in zip(place, counts, strict=True):
        text = {"ha": "center", "va": "bottom", "fontsize": 6, "rotation": turned}
        panel.text(at, 0.02, f"{count:.0f}", transform=across, color=GREY, **text)


def _check_length(name: str, given: Sequence[str], size: int, of: str) -> None:
    if isinstance(given, str) or len(given) != size:
        raise ValueError(f"{name} must be one for each of {size} {of}, got {given!r}")


def _axis(values: npt.NDArray[Any], feature: int) -> FloatArray:
    """Values of a feature to draw over."""
    if np.isin(values, (0.0, 1.0)).all():
        return np.array([0.0, 1.0])
    low, high = np.quantile(values, [0.01, 0.99])
    if low == high:
        low, high = values.min(), values.max()
    if low == high:
        raise ValueError(f"features must vary, {feature} is always {low:g}")
    return np.linspace(low, high, _SIDE)


def _edges(values: FloatArray) -> tuple[float, float]:
    half = (values[1] - values[0]) / 2.0
    return values[0] - half, values[-1] + half
