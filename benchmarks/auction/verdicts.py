"""What Table I's results say, by written rules: other results, other sentences."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from bidclick_gym.auction import Auction

from ..engine import paired_difference
from ..learners import AUCTION_LEARNERS, CLICK_MODEL
from ..paper.figures import TABLE1

__all__ = ["by_seed", "table1_verdicts"]

Rows = Sequence[dict[str, Any]]

# Rows that are not rivals: the limit, and baselines on purpose left untuned.
_NOT_RIVALS = (CLICK_MODEL, "CQL-default", "IQL-default")
_FALSE_PRIOR = "Monotone"
# A bootstrap over fewer is no evidence.
MIN_SEEDS = 5


def by_seed(rows: Rows, algorithm: str, column: str) -> dict[int, float]:
    """One figure of one algorithm for each seed."""
    return {
        int(row["seed"]): float(row[column])
        for row in rows
        if row["algorithm"] == algorithm and row[column] is not None
    }


def table1_verdicts(rows: Rows, auction: Auction) -> list[str]:
    """Sentences for the report, each decided by the figures it quotes."""
    names = list(dict.fromkeys(str(row["algorithm"]) for row in rows))
    mean = {n: _mean(by_seed(rows, n, "regret")) for n in names}
    lines = [_attainable(auction), _premise(auction)]
    ours = [n for n in names if n in AUCTION_LEARNERS and AUCTION_LEARNERS[n].counted]
    lines.extend(_exactness(rows, name) for name in ours)
    premise_true = auction.monotone_share() == 1.0
    true_priors = [
        n for n in ours if premise_true or AUCTION_LEARNERS[n].shape != _FALSE_PRIOR
    ]
    rivals = [n for n in names if n not in ours and n not in _NOT_RIVALS]
    if true_priors and rivals:
        best = min(true_priors, key=mean.__getitem__)
        rival = min(rivals, key=mean.__getitem__)
        lines.append(_against(rows, best, rival))
        lines.extend(
            _ratio(best, name, mean)
            for name in ("CQL-default", "IQL-default")
            if name in names
        )
    if not premise_true:
        lines.extend(
            _false_prior(rows, n, auction)
            for n in ours
            if AUCTION_LEARNERS[n].shape == _FALSE_PRIOR
        )
    return lines


def _attainable(auction: Auction) -> str:
    best = auction.optimal_value()
    above = [row for row in TABLE1 if row.mean_return[0] > best]
    if above:
        return (
            f"**The paper's returns cannot be reproduced here.** {len(above)} of its "
            f"{len(TABLE1)} returns exceed {best:.4f}, the highest that any policy can "
            "earn in the auction as it is stated."
        )
    return f"All of the paper's returns are attainable: the optimum is {best:.4f}."


def _premise(auction: Auction) -> str:
    share = auction.monotone_share()
    if share == 1.0:
        return (
            "The prior *monotone* is true here: the reward rises in the bid everywhere."
        )
    errors = 1000.0 * auction.falling_pairs().sum()
    return (
        f"**The prior *monotone* is false here.** The true reward rises in the bid in "
        f"{100 * share:.2f} % of contexts; a perfect critic would show about "
        f"{errors:.0f} monotonicity errors in 1,000 contexts."
    )


def _exactness(rows: Rows, name: str) -> str:
    worst = max(by_seed(rows, name, "constraint_errors").values())
    shape = AUCTION_LEARNERS[name].shape
    verdict = "holds" if worst == 0.0 else "**does not hold**"
    return (
        f"Exactness of *{name}* ({shape}) {verdict}: at most {worst:.0f} violated "
        "inequalities at any evaluation of any seed."
    )


def _against(rows: Rows, best: str, rival: str) -> str:
    ours, theirs = by_seed(rows, best, "regret"), by_seed(rows, rival, "regret")
    gap = paired_difference(ours, theirs)
    theirs_is_visible = _mean(theirs) > 1e-5
    ratio = f" ({_mean(ours) / _mean(theirs):.2f} times)" if theirs_is_visible else ""
    if gap.seeds < MIN_SEEDS:
        verdict = "with too few seeds to tell, stands beside"
    elif gap.high < 0.0:
        verdict = "is below"
    elif gap.low > 0.0:
        verdict = "**is above**"
    else:
        verdict = "**cannot be told from**"
    return (
        f"The regret of our best row with a true prior, *{best}*, {verdict} that of the "
        f"best oracle-tuned baseline, *{rival}*: {_mean(ours):.5f} against "
        f"{_mean(theirs):.5f}{ratio}, paired difference {gap.format(5)} over "
        f"{gap.seeds} seeds."
    )


def _ratio(best: str, name: str, mean: dict[str, float]) -> str:
    ratio = mean[best] / max(mean[name], 1e-12)
    verdict = "at most" if ratio <= 0.1 else "**more than**"
    return (
        f"It is {verdict} one tenth of that of *{name}* (same network and budget, "
        f"d3rlpy's own hyperparameters): {mean[best]:.5f} against {mean[name]:.5f}."
    )


def _false_prior(rows: Rows, name: str, auction: Auction) -> str:
    value = _mean(by_seed(rows, name, "return"))
    highest = auction.value_of_constant_bid(auction.bids[-1])
    logger = auction.value_of_random_bid(_logger_probabilities(auction))
    if abs(value - highest) < 1e-4:
        reason = (
            f"it always bids {auction.bids[-1]:g}, worth {highest:.5f}: if Q rises in "
            "the bid, the highest bid is greedy whatever the data say"
        )
    else:
        reason = (
            f"always bidding {auction.bids[-1]:g}, which a strictly rising Q dictates, "
            f"is worth {highest:.5f}; where the projection pools actions the tie rule "
            "decides"
        )
    return (
        f"*{name}*, told the false prior, earns {value:.5f} (the logger: {logger:.5f}): "
        f"{reason}."
    )


def _logger_probabilities(auction: Auction) -> list[float]:
    from bidclick_gym.behavior import ClippedGaussianPolicy

    return list(ClippedGaussianPolicy(bids=auction.bids).probabilities)


def _mean(values: dict[int, float]) -> float:
    # Differences of grid means can fall below zero by rounding alone.
    mean = sum(values.values()) / len(values)
    return 0.0 if abs(mean) < 1e-12 else mean
