"""Claims of the abstract and of section III, by exact computation."""

from __future__ import annotations

import itertools

from ..measurements import Measurements
from ..theory import GAMMA
from .verdicts import FAILS, UNTESTABLE, Claim, Claims, Judge, Judgement, judged

CLAIMS = Claims()
_ROUNDING = 1e-9


@CLAIMS.add("theory / bounded rewards", "Section III, setting", "interpretations")
def _bounded(m: Measurements) -> Judgement:
    """Rewards are bounded.

    Rule: holds if no policy can earn -1 or less.
    """
    # A click is 0 or 1, a payment between 0 and the highest cost.
    low = m.interpretation("as stated: click", "worst")
    return judged(
        f"a reward is a click (0 or 1) minus at most 0.4; worst policy's mean {low:.4f}",
        low > -1.0,
    )


@CLAIMS.add("theory / firmly non-expansive", "Section III, after equation 2", "theory")
def _firm(m: Measurements) -> Judgement:
    """The proximal map is firmly non-expansive.

    Rule: holds if the smallest ratio is at least 1 up to 1e-6.
    """
    value = m.theory("firmness")
    return judged(
        "smallest <Px - Py, x - y> / |Px - Py|^2 of 4,096 pairs, exact and proximal, "
        f"three shapes: {value:.6f}",
        value >= 1.0 - 1e-6,
    )


@CLAIMS.add("theory / contraction", "Abstract; section III, after equation 2", "theory")
def _contraction(m: Measurements) -> Judgement:
    """Composed with the Bellman operator it is a gamma-contraction.

    Rule: fails if a difference-constrained shape grows a sup-norm distance by more than
    gamma; under a condition if another shape, or L2, shows growth above 1.
    """
    names = ("monotone", "slope bounds")
    safe = max(m.theory(f"sup-norm growth, {name}") for name in names)
    concave = m.theory("sup-norm growth, concave, worst pair")
    in_l2 = m.theory("L2 growth of T")
    text = (
        f"largest growth of the sup-norm distance in one sweep at gamma {GAMMA}: "
        f"monotone and slope bounds {safe:.4f}, concave {concave:.4f}; in L2 the "
        f"Bellman operator alone can grow a distance {in_l2:.2f} times"
    )
    if safe > GAMMA + _ROUNDING:
        return Judgement(FAILS, text)
    contracts = concave <= 1.0 and in_l2 <= 1.0
    return judged(text, contracts, True, "the shape is made of bounds on differences")


@CLAIMS.add(
    "theory / unique fixed point", "Abstract; section III, after equation 2", "theory"
)
def _fixed_point(m: Measurements) -> Judgement:
    """The composed operator has one fixed point, and iterating finds it.

    Rule: fails if the monotone limits differ by more than 1e-6; under a condition if the
    concave iteration grows.
    """
    spread = m.theory("monotone: distance of fixed points")
    growth = m.theory("concave: growth in 50 sweeps")
    text = (
        f"monotone: limits from 8 starts differ by {spread:.1e}; concave: in an MDP of "
        "five states without rewards, whose fixed point is 0, a straight line grows "
        f"{growth:.1f} times in 50 sweeps at gamma {GAMMA}"
    )
    is_one = spread <= 1e-6
    return judged(text, is_one and growth <= 1.0, is_one)


@CLAIMS.add("theory / lambda to zero", "Section III, after equation 2", "theory")
def _small_lambda(m: Measurements) -> Judgement:
    """The fixed point tends to the optimal value as lambda falls to 0.

    Rule: holds if the distance falls with lambda, to below 2 % of its first value.
    """
    lambdas = ("1", "0.1", "0.01", "0.001")
    distances = [m.theory(f"distance to v*, lambda {value}") for value in lambdas]
    falls = all(a > b for a, b in itertools.pairwise(distances))
    return judged(
        f"largest distance to v* at lambda {', '.join(lambdas)}: "
        f"{', '.join(f'{distance:.4f}' for distance in distances)}",
        falls and distances[-1] < 0.02 * distances[0],
    )


@CLAIMS.add("theory / symmetric system", "Section III, after equation 6", "theory")
def _symmetric(m: Measurements) -> Judgement:
    """I - gamma P + lambda H is symmetric positive definite, so conjugate gradient solves
    it.

    Rule: holds if it is symmetric and its curvature positive; under a condition if it is
    symmetric without gamma P.
    """
    uneven, curvature = m.theory("asymmetry"), m.theory("smallest curvature")
    without = m.theory("asymmetry without gamma P")
    return judged(
        "I - gamma P + lambda H of a random P: entries differ from their mirror by up "
        f"to {100 * uneven:.0f} % of the largest; smallest curvature with all states "
        f"leading to one {curvature:.2f}; without gamma P (target held fixed) the "
        f"asymmetry is {without:.0e}",
        uneven <= _ROUNDING and curvature > 0.0,
        without <= _ROUNDING,
        "the target is held fixed, so that gamma P is absent",
    )


@CLAIMS.add("theory / the step", "Algorithm 1", "theory")
def _unit_step(m: Measurements) -> Judgement:
    """The proximal step of length alpha (the letter is also the entropy temperature)
    solves the inner problem at the penalties used, up to 10.

    Rule: holds if a step of length 1 converges at lambda 10.
    """
    stops = m.theory("unit step: stops converging")
    # The paper itself goes up to 10.
    return judged(
        f"with five values a step of 1 stops converging above lambda = {stops:.3f} "
        f"(1 / L = {m.theory('1 / L'):.3f}) and runs away above "
        f"{m.theory('unit step: diverges'):.2f}; a step of 1 / (1 + lambda L) is "
        f"{m.theory('scaled step at lambda 100'):.0e} from the solution at lambda 100",
        stops >= 10.0,
        True,
        "lambda below 1 / L, or a step scaled with lambda",
    )


@CLAIMS.add("theory / finite lambda", "Abstract; section III", "theory")
def _finite_lambda(m: Measurements) -> Judgement:
    """The proximal operator enforces the structure exactly.

    Rule: holds if some finite lambda leaves no violated pair.
    """
    lambdas = ("1", "100", "10000")
    counts = [m.theory(f"violations, lambda {value}") for value in lambdas]
    sizes = [m.theory(f"C(u), lambda {value}") for value in lambdas]
    text = "; ".join(
        f"lambda {value}: {count:.0f} violated pairs, C(u) = {size:.1e}"
        for value, count, size in zip(lambdas, counts, sizes, strict=True)
    )
    before = m.theory("violations, lambda 0")
    text = f"of 1,024 pairs {before:.0f} violated without a penalty; {text}"
    return judged(text, min(counts) == 0)


@CLAIMS.add("theory / Q inherits", "Section III, after equation 8", "interpretations")
def _inherits(m: Measurements) -> Judgement:
    """Q inherits the guarantees of V.

    Rule: holds if the reward itself has the shape everywhere (V's shape lies along states
    and cannot reach the bid in a single-step task).
    """
    share = m.interpretation("as stated: click", "monotone_share")
    return judged(
        "contexts are independent, so the successor's value is the same for every bid "
        "and Q differs over bids by r alone, which rises in "
        f"{100 * share:.2f} % of contexts, whatever V's shape",
        share == 1.0,
    )


def _untestable(why: str) -> Judge:
    return lambda m: Judgement(UNTESTABLE, why)


CLAIMS += [
    Claim(
        "theory / target at bids not logged",
        "Equation 4 and Algorithm 1",
        "The inner step moves towards the target y.",
        "theory",
        "no experiment: y exists for the logged bid only",
        _untestable(
            "y is defined at the logged bid alone; elsewhere we keep the critic's own "
            "value (`inner_anchor`), which is a choice of ours"
        ),
    ),
    Claim(
        "theory / almost sure convergence",
        "Section III, convergence remarks",
        "The coupled updates converge almost surely to a stationary point.",
        "theory",
        "no experiment: the inner error is to vanish, while Algorithm 1 takes one step",
        _untestable(
            "the condition (an inner error that tends to 0) contradicts the algorithm's "
            "single inner step, and no finite run shows an almost sure limit"
        ),
    ),
    Claim(
        "theory / value monotone in the bid",
        "Section IV, environment",
        "The optimal state value is monotone in the bid.",
        "interpretations",
        "no experiment: a value of states has no bid to be monotone in",
        _untestable(
            "v*(s) does not depend on the bid; read as a statement on Q it is the next "
            "claim"
        ),
    ),
]


@CLAIMS.add(
    "theory / the reward rises in the bid", "Section IV, environment", "interpretations"
)
def _reward_rises(m: Measurements) -> Judgement:
    """The reward's derivative in the bid is positive.

    Rule: holds if the expected reward rises in every context; under a condition if it
    does at lower costs.
    """
    share = m.interpretation("as stated: click", "monotone_share")
    cheap = m.interpretation("as stated, costs", "monotone_share")
    return judged(
        f"the expected reward rises in the bid in {100 * share:.2f} % of contexts (with "
        f"costs of 0.05 to 0.10: {100 * cheap:.0f} %)",
        share == 1.0,
        cheap == 1.0,
        "the cost stays below 0.1402, BidClickMonotone-v0",
    )
