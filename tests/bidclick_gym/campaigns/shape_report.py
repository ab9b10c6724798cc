"""Which shapes the optimum of a campaign has exactly, and how far it is from others.

A theorem is proven for every campaign (``docs/campaigns/shapes.md``); its row measures
rounding.  Any other shape holds nearly, or on this campaign: its row says how nearly.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from bidclick_gym.campaigns import Solution

FloatArray = npt.NDArray[np.float64]

# Values are near 30 and correct to 1e-14 of that.
ROUNDING = 1e-9


@dataclasses.dataclass(frozen=True)
class ShapeCheck:
    """How far a solution is from one shape, over all inequalities that make it up.

    Args:
        shape: what is claimed.
        is_theorem: proven, so that only rounding can be missing.
        largest: the largest shortfall, in units of one click.
        mean: the mean over all inequalities, 0 where one holds.
        share: share of inequalities that are missed by more than rounding.
        where: the state of the largest shortfall; empty if only rounding is missing.
    """

    shape: str
    is_theorem: bool
    largest: float
    mean: float
    share: float
    where: str


def shape_report(
    solution: Solution,
    *,
    contexts: int = 16,
    budgets: int = 201,
    impressions: Sequence[int] | None = None,
) -> tuple[ShapeCheck, ...]:
    """Checks the shapes of ``V`` on the solution's grid, those of ``Q`` on a coarser one.

    Inequalities compare neighbours on the grid.  In the bid only bids that can be paid
    are compared.  Shortfalls of concavity are second differences, slopes' change times
    the mean spacing, except in the budget: there, the distance to the least concave
    function above ``V_k``, which does not depend on the grid.

    Args:
        solution: what ``solve`` found.
        contexts: midpoints in each direction of the context, at least 2.
        budgets: budgets of the check of ``Q``, from 0 to B, at least 2.
        impressions: the ``k`` of the check of ``Q``, in 1, ..., T; all if not given.
    """
    clock = range(1, solution.campaign.impressions + 1)
    ks = clock if impressions is None else impressions
    tallies = {name: _Tally() for name in SHAPES}
    _check_values(solution, tallies)
    for k in ks:
        _check_actions(solution, int(k), contexts, budgets, tallies)
    return tuple(
        ShapeCheck(
            shape=name,
            is_theorem=SHAPES[name],
            largest=tally.largest,
            mean=tally.total / tally.count,
            share=tally.missed / tally.count,
            where=tally.where if tally.largest > ROUNDING else "",
        )
        for name, tally in tallies.items()
        if tally.count
    )


def shape_table(report: Sequence[ShapeCheck]) -> str:
    """The report as a Markdown table."""
    lines = ["| Shape | | Largest | Mean | Share | Where |", "|---|---|---|---|---|---|"]
    for row in report:
        if row.is_theorem:
            kind = "theorem" if row.largest <= ROUNDING else "BROKEN THEOREM"
        else:
            kind = "approximation" if row.largest > ROUNDING else "holds here"
        numbers = "0 | 0 | 0"
        if row.largest > ROUNDING:
            numbers = f"{row.largest:.3f} | {row.mean:.5f} | {100.0 * row.share:.1f} %"
        lines.append(f"| {row.shape} | {kind} | {numbers} | {row.where} |")
    return "\n".join(lines)


BORDER = "Q rises with b and falls with c where refusal ends"
SHAPES = {
    "V rises with b": True,
    "V rises with k": True,
    "Q rises with x": True,
    "Q rises with k": True,
    "Q rises with b, bid paid or refused at both": True,
    "Q falls with c, bid paid or refused at both": True,
    "max Q rises with b": True,
    "max Q falls with c": True,
    BORDER: False,
    "V concave in b": False,
    "V concave in k": False,
    "Q concave in the bid": False,
    "Q + c a rises with the bid": False,
}


@dataclasses.dataclass
class _Tally:
    """Shortfalls of one shape, added up table by table."""

    count: int = 0
    missed: int = 0
    total: float = 0.0
    largest: float = 0.0
    where: str = ""

    def add(self, shortfall: FloatArray, mask: Any = True, **state: Any) -> None:
        """Counts a table; ``state`` has what varies along its axes, 1 elsewhere."""
        counted = np.broadcast_to(mask, shortfall.shape)
        missing = np.where(counted, np.maximum(shortfall, 0.0), 0.0)
        self.count += int(counted.sum())
        self.missed += int((missing > ROUNDING).sum())
        self.total += float(missing.sum())
        if missing.size and missing.max() > self.largest:
            self.largest = float(missing.max())
            index = np.unravel_index(missing.argmax(), missing.shape)
            self.where = ", ".join(_at(index, *item) for item in state.items())


def _at(index: tuple[Any, ...], name: str, along: Any) -> str:
    """What one part of the state is at a place of a table."""
    along = np.asarray(along)
    sizes = zip(index, along.shape, strict=False)
    value = along[tuple(i if size > 1 else 0 for i, size in sizes)].item()
    return f"{name} = {value:{'g' if name in 'ka' else '.3f'}}"


def _check_values(solution: Solution, tallies: dict[str, _Tally]) -> None:
    values, b = solution.values, solution.budgets
    k = np.arange(len(values) + 1)[:, None]
    tallies["V rises with b"].add(-np.diff(values, axis=1), k=k, b=b[None])
    tallies["V rises with k"].add(-np.diff(values, axis=0), k=k[1:], b=b[None])
    majorant = np.stack([_concave_majorant(b, row) for row in values[1:]])
    tallies["V concave in b"].add(majorant - values[1:], k=k[1:], b=b[None])
    tallies["V concave in k"].add(np.diff(values, n=2, axis=0), k=k[1:], b=b[None])


def _concave_majorant(position: FloatArray, values: FloatArray) -> FloatArray:
    """The least concave function above some points, at these points, ``(G,)``."""
    hull: list[int] = []
    for i in range(len(position)):
        while len(hull) > 1:
            left, middle = hull[-2], hull[-1]
            rise = (values[middle] - values[left]) * (position[i] - position[left])
            if rise > (values[i] - values[left]) * (position[middle] - position[left]):
                break
            hull.pop()
        hull.append(i)
    return np.asarray(np.interp(position, position[hull], values[hull]))


def _check_actions(
    solution: Solution, k: int, contexts: int, budgets: int, tallies: dict[str, _Tally]
) -> None:
    campaign = solution.campaign
    bids = campaign.auction.bid_array
    x, c = campaign.auction.contexts(contexts).reshape(contexts, contexts, 2).T
    # (b, c, x)
    x, c = x[:1, None], c[None, :, :1]
    b = np.linspace(0.0, campaign.budget, budgets)[:, None, None]
    q = solution.q_at(x, c, b, k)
    is_paid = np.broadcast_to(campaign.is_affordable(c, b), q.shape)

    def add(name: str, shortfall: FloatArray, mask: Any = True) -> None:
        # (b, c, x) or (b, c, x, a)
        bid = {"a": bids[None, None, None]} if shortfall.ndim == 4 else {}
        tallies[name].add(shortfall, mask, k=k, b=b, c=c, x=x, **bid)

    add("Q rises with x", -np.diff(q, axis=2))
    if k > 1:  # with nothing to come there is no Q
        add("Q rises with k", solution.q_at(x, c, b, k - 1) - q)
    alike = is_paid[1:] == is_paid[:-1]
    add("Q rises with b, bid paid or refused at both", -np.diff(q, axis=0), alike)
    alike = is_paid[:, 1:] == is_paid[:, :-1]
    add("Q falls with c, bid paid or refused at both", np.diff(q, axis=1), alike)
    add("max Q rises with b", -np.diff(q.max(axis=-1), axis=0))
    add("max Q falls with c", np.diff(q.max(axis=-1), axis=1))

    slopes = np.diff(q, axis=-1) / np.diff(bids)
    second = np.diff(slopes, axis=-1) * (bids[2:] - bids[:-2]) / 2.0
    # Bids rise, so the dearest one that is compared decides.
    add("Q concave in the bid", second, is_paid[..., 2:])
    gross = q + c[..., None] * bids
    add("Q + c a rises with the bid", -np.diff(gross, axis=-1), is_paid[..., 1:])

    # At b = c a the value jumps from that of bid 0 to that of the bid.
    for i, bid in enumerate(bids[1:], 1):
        cost = c[0][c[0, :, 0] * bid <= campaign.budget]
        q = solution.q_at(x[0], cost, cost * bid, k)
        state = {"k": k, "b": cost * bid, "c": cost, "x": x[0], "a": bid}
        tallies[BORDER].add(q[..., 0] - q[..., i], **state)
