"""The picture of a comparison."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from .comparison import Comparison

__all__ = ["plot_comparison"]


def plot_comparison(comparison: Comparison) -> Figure:
    """One row for each policy, the best on top; the logger as a band."""
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise ImportError(
            "a plot needs matplotlib: pip install 'bidclick-icac[render]'"
        ) from error
    policies = comparison.policies[::-1]
    figure = Figure(figsize=(6.5, 1.3 + 0.42 * len(policies)), layout="constrained")
    axes = figure.subplots()
    logger = comparison.logger
    axes.axvspan(logger.lower, logger.upper, color="#cccccc", alpha=0.6, lw=0)
    axes.axvline(logger.value, color="#555555", lw=1.2, label="logger")
    for height, policy in enumerate(policies):
        estimate = policy.estimate
        assert estimate.support is not None
        colour = "#1b6ca8" if not estimate.support.problems else "#c0392b"
        axes.errorbar(
            estimate.value,
            height,
            xerr=[
                [estimate.value - estimate.lower],
                [estimate.upper - estimate.value],
            ],
            fmt="o",
            color=colour,
            capsize=3,
        )
    axes.set_yticks(
        range(len(policies)),
        [
            f"{p.name} ({p.changed:.0%} of bids changed)"
            + (
                ""
                if p.estimate.support is None or not p.estimate.support.problems
                else "\nlacks support"
            )
            for p in policies
        ],
    )
    axes.set_ylim(-0.6, len(policies) - 0.4)
    axes.set_xlabel(
        f"value ({policies[0].estimate.estimator}), {logger.level:.0%} intervals; "
        "grey: the logger"
    )
    axes.grid(axis="x", alpha=0.25)
    return figure
