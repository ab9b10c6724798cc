"""Regions of contexts in which a shape is tested: the user's, or the log's own."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

FloatArray = npt.NDArray[np.float64]
Mask = npt.NDArray[np.bool_]
#: From observations ``(N, d)`` to booleans ``(N,)``.
RegionFunction = Callable[[npt.NDArray[np.float32]], Any]
EVERYWHERE = "all"
# A feature of so few values is taken for a category, or for a count.
_FEW_VALUES = 256
# A region of nearly all contexts tells nothing that all contexts do not.
_LARGEST_SHARE = 0.9
_LEAVES = 6
_ROWS_OF_A_TREE = 20_000


@dataclasses.dataclass(frozen=True)
class Region:
    """Part of the logged contexts: its name and its rows, ``(N,)``."""

    name: str
    mask: Mask


def check_names(names: Sequence[str] | None, width: int) -> list[str]:
    """Names of the features, ``"feature 3"`` where there are none."""
    if names is None:
        return [f"feature {feature}" for feature in range(width)]
    if not (
        isinstance(names, (list, tuple))
        and all(isinstance(name, str) for name in names)
        and len(set(names)) == len(names)
    ):
        raise ValueError(
            f"feature_names must be a list of different names, got {names!r}"
        )
    if len(names) != width:
        raise ValueError(
            f"feature_names must have one name for each of {width} features, "
            f"got {len(names)}"
        )
    return list(names)


def given_regions(
    observations: npt.NDArray[np.float32], regions: Mapping[str, RegionFunction]
) -> list[Region]:
    """The user's own regions; those without a row are left out."""
    if not (
        isinstance(regions, Mapping)
        and all(isinstance(name, str) for name in regions)
        and all(callable(region) for region in regions.values())
    ):
        raise ValueError(f"regions must map names to functions, got {regions!r}")
    if EVERYWHERE in regions:
        raise ValueError("regions must not name one 'all': all contexts always count")
    found = []
    for name, function in regions.items():
        mask = np.asarray(function(observations))
        if mask.shape != (len(observations),) or mask.dtype != np.bool_:
            raise ValueError(
                f"regions[{name!r}] must give one boolean for each of "
                f"{len(observations)} observations, got {mask.dtype} of shape "
                f"{mask.shape}"
            )
        found.append(Region(name, mask))
    return [region for region in found if region.mask.any()]


def feature_regions(
    observations: npt.NDArray[np.float32], names: Sequence[str], smallest: int
) -> list[Region]:
    """Groups of contexts by each feature: its values if few, else halves and quarters.

    Groups of fewer than ``smallest`` rows, and of nearly all rows, are left out.
    """
    most = _LARGEST_SHARE * len(observations)
    return [
        Region(group, mask)
        for name, values in zip(names, observations.T, strict=True)
        for group, mask in _groups(name, values, smallest)
        if smallest <= np.count_nonzero(mask) <= most
    ]


def _groups(
    name: str, values: npt.NDArray[np.float32], smallest: int
) -> Iterator[tuple[str, Mask]]:
    levels = np.unique(values)
    if len(levels) <= min(_FEW_VALUES, len(values) // smallest):
        codes = np.searchsorted(levels, values)
        for code, level in enumerate(levels):
            yield f"{name} = {level:.7g}", codes == code
        shares: tuple[float, ...] = (0.5,) if len(levels) > 2 else ()
    else:
        shares = (0.25, 0.5, 0.75)
    if not shares:
        return
    # Where most values are the largest one, they are a group of their own.
    edges = np.minimum(np.quantile(values, shares), levels[-2]).tolist()
    middle = edges[len(edges) // 2]
    groups = [(-math.inf, middle), (middle, math.inf)]
    groups += zip((-math.inf, *edges), (*edges, math.inf), strict=True)
    for low, high in dict.fromkeys(groups):
        yield _interval(name, low, high), (values > low) & (values <= high)


def _interval(name: str, low: float, high: float) -> str:
    if low == -math.inf:
        return f"{name} <= {high:.5g}"
    if high == math.inf:
        return f"{name} > {low:.5g}"
    return f"{low:.5g} < {name} <= {high:.5g}"


def tree_regions(
    observations: npt.NDArray[np.float32],
    scores: FloatArray,
    episodes: npt.NDArray[np.int64],
    names: Sequence[str],
    smallest: int,
    seed: int,
) -> list[Region]:
    """Leaves of a tree that looks for different curves, in the half it has not seen.

    One tree is fitted on the scores, ``(N, K)``, of each half of the episodes; its
    leaves are regions of the other half, so that what drew them is not what tests them.
    """
    from sklearn.tree import DecisionTreeRegressor

    rng = np.random.default_rng(seed)
    halves = (rng.permutation(int(episodes[-1]) + 1) % 2)[episodes]
    curves = np.diff(scores, axis=1)
    # Single heavy rewards would draw regions around themselves.
    curves = np.clip(curves, *np.quantile(curves, (0.005, 0.995), axis=0))
    # Trees have float32.
    curves /= max(np.abs(curves).max(), 1e-300)
    found = []
    for half in (0, 1):
        rows = np.flatnonzero(halves != half)
        if len(rows) > _ROWS_OF_A_TREE:
            rows = rng.choice(rows, _ROWS_OF_A_TREE, replace=False)
        least = max(smallest, len(rows) // 10)
        if len(rows) < 2 * least or halves.all() or not halves.any():
            continue
        tree = DecisionTreeRegressor(
            max_leaf_nodes=_LEAVES, min_samples_leaf=least, random_state=seed
        ).fit(observations[rows], curves[rows])
        leaves = tree.apply(observations)
        for leaf, path in _paths(tree.tree_):
            mask = (leaves == leaf) & (halves == half)
            if path and mask.any():
                where = " and ".join(
                    _interval(names[feature], *ends) for feature, ends in path.items()
                )
                found.append(Region(f"{where}, in half {half + 1} of the log", mask))
    return found


def _paths(tree: Any) -> Iterator[tuple[int, dict[int, tuple[float, float]]]]:
    """Every leaf of a tree, and the interval of each feature that leads there."""
    nodes: list[tuple[int, dict[int, tuple[float, float]]]] = [(0, {})]
    while nodes:
        node, path = nodes.pop()
        feature, edge = int(tree.feature[node]), float(tree.threshold[node])
        if feature < 0:
            yield node, path
            continue
        low, high = path.get(feature, (-math.inf, math.inf))
        nodes.append((int(tree.children_left[node]), {**path, feature: (low, edge)}))
        nodes.append((int(tree.children_right[node]), {**path, feature: (edge, high)}))
