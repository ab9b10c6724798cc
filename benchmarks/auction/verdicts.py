"""What Table I's results say, by written rules: other results, other sentences."""

from __future__ import annotations

from bidclick_gym.auction import Auction
from bidclick_gym.behavior import ClippedGaussianPolicy

from ..engine.intervals import paired_difference
from ..engine.markdown import said
from ..engine.rows import Rows, by_seed, distinct
from ..learners import AUCTION_LEARNERS
from .paper_figures import TABLE1

_FALSE_PRIOR = "Monotone"


def table1_verdicts(rows: Rows, auction: Auction) -> list[str]:
    names = [str(name) for name in distinct(rows, "algorithm")]
    regret = {n: by_seed(rows, "regret", algorithm=n) for n in names}
    mean = {name: _mean(values) for name, values in regret.items()}
    kinds = {
        name: AUCTION_LEARNERS[name].kind if name in AUCTION_LEARNERS else "baseline"
        for name in names
    }
    ours = [name for name in names if kinds[name] == "ours"]
    rivals = [name for name in names if kinds[name] == "baseline"]
    lines = [_attainable(auction), _premise(auction)]
    lines += [_exactness(rows, name) for name in ours]
    premise_is_true = auction.monotone_share() == 1.0
    false = [
        n
        for n in ours
        if not premise_is_true and AUCTION_LEARNERS[n].shape == _FALSE_PRIOR
    ]
    true = [name for name in ours if name not in false]
    if true and rivals:
        best = min(true, key=mean.__getitem__)
        rival = min(rivals, key=mean.__getitem__)
        lines.append(_against(best, regret[best], rival, regret[rival]))
        lines += [
            _ratio(name, mean[best], mean[name])
            for name in names
            if kinds[name] == "untuned"
        ]
    return lines + [_false_prior(rows, name, auction) for name in false]


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
    worst = max(by_seed(rows, "constraint_errors", algorithm=name).values())
    shape = AUCTION_LEARNERS[name].shape
    verdict = "holds" if worst == 0.0 else "**does not hold**"
    return (
        f"Exactness of *{name}* ({shape}) {verdict}: at most {worst:.0f} violated "
        "inequalities at any evaluation of any seed."
    )


def _against(
    best: str, ours: dict[int, float], rival: str, theirs: dict[int, float]
) -> str:
    gap = paired_difference(ours, theirs)
    visible = _mean(theirs) > 1e-5
    ratio = f" ({_mean(ours) / _mean(theirs):.2f} times)" if visible else ""
    return (
        f"The regret of our best row with a true prior, *{best}*, {said(gap)} that of "
        f"the best oracle-tuned baseline, *{rival}*: {_mean(ours):.5f} against "
        f"{_mean(theirs):.5f}{ratio}, paired difference {gap.format(5)} over "
        f"{gap.seeds} seeds."
    )


def _ratio(name: str, ours: float, theirs: float) -> str:
    verdict = "at most" if ours / max(theirs, 1e-12) <= 0.1 else "**more than**"
    return (
        f"It is {verdict} one tenth of that of *{name}* (same network and budget, "
        f"d3rlpy's own hyperparameters): {ours:.5f} against {theirs:.5f}."
    )


def _false_prior(rows: Rows, name: str, auction: Auction) -> str:
    value = _mean(by_seed(rows, "return", algorithm=name))
    highest = auction.value_of_constant_bid(auction.bids[-1])
    policy = ClippedGaussianPolicy(bids=auction.bids)
    logger = auction.value_of_random_bid(list(policy.probabilities))
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
        f"*{name}*, given the false prior, earns {value:.5f} (the logger: "
        f"{logger:.5f}): {reason}."
    )


def _mean(values: dict[int, float]) -> float:
    # Differences of grid means can fall below zero by rounding alone.
    mean = sum(values.values()) / len(values)
    return 0.0 if abs(mean) < 1e-12 else mean
