"""Claims of section IV.A, Table II: what each part of the method buys, and costs."""

from __future__ import annotations

from ...auction.paper_figures import TABLE2
from ...engine.intervals import Interval
from ...engine.timing import ratio
from ..measurements import Measurements, difference, listed, mean
from .verdicts import EXACT, Claims, Judgement, above, judged

CLAIMS = Claims()
#: A change of less than this in return is not visible in the paper's three digits.
_NEGLIGIBLE = 5e-4


def _errors(m: Measurements, variant: str, critic: str = "") -> Interval:
    return mean(m.table2(variant, "monotonicity_errors", critic))


def _shortfall(m: Measurements, variant: str) -> Interval:
    return mean(m.table2(variant, "violation_magnitude"))


def _more(m: Measurements, variant: str, column: str = "regret") -> Interval:
    """Than the full method has, paired by seed."""
    return difference(m.table2(variant, column), m.table2("full", column))


@CLAIMS.add("results / no violations", "Abstract; section IV", "table2")
def _no_violations(m: Measurements) -> Judgement:
    """It eliminates all monotonicity violations.

    Rule: holds if its proximal critic has none; under a condition if the exact projection
    has none.
    """
    proximal, exact = _errors(m, "full"), _errors(m, "full", "exact")
    value = mean(m.table2("full", "return", "exact"))
    raw = _errors(m, "full", "raw")
    text = (
        f"full method, errors in 1,000 contexts: raw {raw.format(0)}, proximal (what "
        f"Algorithm 1 computes) {proximal.format(0)}, exactly projected "
        f"{exact.format(0)} (return {value.format(4)}: it always bids 1)"
    )
    return judged(text, proximal.high == 0.0, exact.high == 0.0, EXACT)


@CLAIMS.add("ablation / dual lambda is best", "Section IV.A", "table2")
def _dual_is_best(m: Measurements) -> Judgement:
    """The full method beats every variant.

    Rule: holds if every variant but five inner steps has more regret (paired intervals).
    """
    names = [name for name in TABLE2 if name not in ("full", "1 inner iteration")]
    gaps = {name: _more(m, name) for name in names}
    # Five inner steps are better by 0.001 in the paper itself.
    worse = [above(gap) for name, gap in gaps.items() if name != "5 inner iterations"]
    return judged(f"regret minus the full method's: {listed(gaps, 4)}", all(worse))


@CLAIMS.add("ablation / weak lambda", "Section IV.A", "table2")
def _weak(m: Measurements) -> Judgement:
    """At lambda 0.01 ordering errors remain and performance falls.

    Rule: holds if it has more errors and more regret than the full method.
    """
    gap, full = _more(m, "lambda 0.01"), _errors(m, "full")
    errors = _errors(m, "lambda 0.01")
    return judged(
        f"lambda 0.01: {errors.format(0)} errors (full: {full.format(0)}), regret minus "
        f"the full method's {gap.format(4)}",
        errors.low > full.high and above(gap),
    )


@CLAIMS.add("ablation / strong lambda enforces", "Section IV.A", "table2")
def _strong_enforces(m: Measurements) -> Judgement:
    """At lambda 10 monotonicity is enforced.

    Rule: holds if its proximal critic has no errors.
    """
    errors = _errors(m, "lambda 10")
    size, weak = _shortfall(m, "lambda 10"), _shortfall(m, "lambda 0.01")
    return judged(
        f"lambda 10: {errors.format(0)} errors; mean shortfall {size.format(5)} "
        f"(lambda 0.01: {weak.format(5)})",
        errors.high == 0.0,
    )


@CLAIMS.add("ablation / strong lambda costs", "Section IV.A", "table2")
def _strong_residual(m: Measurements) -> Judgement:
    """At lambda 10 the residual is inflated and the policy suffers.

    Rule: holds if the residual more than doubles and the regret grows.
    """
    strong, full = (mean(m.table2(name, "residual")) for name in ("lambda 10", "full"))
    gap = _more(m, "lambda 10")
    return judged(
        f"residual {strong.format(4)} against {full.format(4)}; regret minus the full "
        f"method's {gap.format(4)}",
        strong.low > 2.0 * full.high and above(gap),
    )


@CLAIMS.add("ablation / soft penalty", "Section IV.A", "table2")
def _soft(m: Measurements) -> Judgement:
    """Penalising is weaker than projecting: violations persist.

    Rule: holds if it has errors where the proximal critic has none; under a condition if
    where the exact projection has none.
    """
    soft, full = _errors(m, "soft penalty"), _errors(m, "full")
    size, full_size = _shortfall(m, "soft penalty"), _shortfall(m, "full")
    return judged(
        f"errors of the soft penalty {soft.format(0)}, of the proximal critic "
        f"{full.format(0)}; mean shortfall {size.format(5)} and {full_size.format(5)}",
        soft.low > full.high and full.high == 0.0,
        soft.low > _errors(m, "full", "exact").high,
        EXACT,
    )


@CLAIMS.add("ablation / warm start saves half", "Section IV.A", "cost")
def _warm_start_time(m: Measurements) -> Judgement:
    """Without a warm start the computation doubles.

    Rule: holds if an update takes 1.5 to 2.5 times as long.
    """
    times = ratio(m.cost("variant: no warm start"), m.cost("Ours-paper"))
    return judged(
        f"an update without a warm start takes {times:.2f} times as long, at the "
        "tolerance that one warm step reaches",
        1.5 <= times <= 2.5,
    )


@CLAIMS.add("ablation / warm start loses nothing", "Section IV.A", "table2")
def _warm_start_quality(m: Measurements) -> Judgement:
    """Leaving out the warm start improves no metric.

    Rule: fails if the regret falls by more than 0.0005.
    """
    gap = _more(m, "no warm start")
    text = f"regret without a warm start minus the full method's {gap.format(5)}"
    return judged(text, gap.high >= -_NEGLIGIBLE)


@CLAIMS.add("ablation / one step is enough", "Section III; section IV.A", "table2")
def _five_steps(m: Measurements) -> Judgement:
    """Five inner steps gain next to nothing over one.

    Rule: holds if the difference in regret lies within 0.005.
    """
    gap = _more(m, "5 inner iterations")
    text = f"regret with five inner steps minus that with one {gap.format(5)}"
    return judged(text, gap.low > -5e-3 and gap.high < 5e-3)


@CLAIMS.add("ablation / spectral norm helps", "Section IV.A", "table2")
def _spectral_norm(m: Measurements) -> Judgement:
    """Spectral normalization lowers the residual and raises the return.

    Rule: holds if without it residual and regret are higher (paired intervals).
    """
    residual, gap = _more(m, "no spectral norm", "residual"), _more(m, "no spectral norm")
    return judged(
        f"without it: residual {residual.format(4)} more, regret {gap.format(5)} more",
        above(residual) and above(gap),
    )


@CLAIMS.add("ablation / safe without spectral norm", "Section IV.A", "table2")
def _without_spectral_norm(m: Measurements) -> Judgement:
    """Monotonicity stays intact without spectral normalization.

    Rule: holds if the proximal critic has no errors; under a condition if the exact one.
    """
    errors = _errors(m, "no spectral norm")
    exact = _errors(m, "no spectral norm", "exact")
    text = f"errors: proximal {errors.format(0)}, exactly projected {exact.format(0)}"
    return judged(text, errors.high == 0.0, exact.high == 0.0, EXACT)


@CLAIMS.add("ablation / actor only", "Section IV.A", "table2")
def _actor_only(m: Measurements) -> Judgement:
    """Constraining the actor alone suppresses violations less and costs return.

    Rule: holds if the actor's scores show more errors than the full method's critic, and
    more regret.
    """
    errors, critic = _errors(m, "actor only"), _errors(m, "actor only", "raw")
    full, gap = _errors(m, "full"), _more(m, "actor only")
    return judged(
        f"errors of the actor's scores {errors.format(0)}, of its free critic "
        f"{critic.format(0)}, of the full method's proximal critic {full.format(0)}; "
        f"regret minus the full method's {gap.format(4)}",
        errors.low > full.high and above(gap),
    )


@CLAIMS.add("cost / overhead", "Section I; section V", "cost")
def _overhead(m: Measurements) -> Judgement:
    """The computational overhead is comparable to IQL and CQL.

    Rule: holds if an update takes at most 1.5 times as long as each; under a condition if
    as one of them.
    """
    times = {
        f"{name} / {rival}": ratio(m.cost(name), m.cost(rival))
        for name in ("Ours-paper", "Ours-Concave")
        for rival in ("IQL", "CQL")
    }
    shown = ", ".join(f"{pair} {value:.2f}" for pair, value in times.items())
    low = [v <= 1.5 for pair, v in times.items() if pair.startswith("Ours-paper")]
    condition = "compared with the slower"
    return judged(f"time of an update: {shown}", all(low), any(low), condition)
