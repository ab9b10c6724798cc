"""``python -m benchmarks budget``: campaigns under a budget."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TypeVar

from bidclick_gym.campaigns import BudgetedCampaign, shape_report, shape_table, solve

from ..engine import Experiment, Option, Part, Results, Settings, register
from ..engine.command_line import fraction, list_of, one_of, positive_int
from ..engine.files import write_text
from ..engine.markdown import section
from ..engine.page import page_of
from ..engine.rows import Rows
from ..learners import CAMPAIGN_LEARNERS
from . import choice_report, contraction, learned, policies, risk, safety
from .choice import CHOICE
from .training import LOGGERS

_FRACTIONS = (1.0, 0.25, 0.0625)


Make = TypeVar("Make")

#: Sections of the report, and the part whose rows they are made from.
_SECTIONS: list[tuple[Part, Callable[[Rows], str]]] = [
    (learned.LEARNERS, learned.verdict_section),
    (policies.POLICIES, policies.policy_section),
    (learned.LEARNERS, learned.learner_section),
    (contraction.CONTRACTION, contraction.contraction_section),
    (safety.SAFETY, safety.safety_section),
    (risk.RISK, risk.risk_section),
    (CHOICE, choice_report.choice_section),
]


def _if_run(part: Part, make: Callable[[Rows], Make]) -> Callable[[Results], Make | None]:
    """Makes it from the rows of a part; ``None`` where there are none."""
    return lambda results: make(results[part.name]) if results[part.name] else None


def _sections(results: Results) -> Iterable[str]:
    campaign = BudgetedCampaign()
    yield f"""\
{campaign.impressions} impressions share a budget of {campaign.budget:g}. A seed draws the
log *and* the training; figures are means over seeds with 95 % bootstrap percentile
intervals, and each table says how many seeds it has. Raw rows are in the CSV files
beside this report."""
    for part, make in _SECTIONS:
        yield _if_run(part, make)(results) or ""
    yield section(
        "What is true of the optimum", shape_table(shape_report(solve(campaign)))
    )


def _page(results: Results, settings: Settings) -> str:
    text = (results.out / "report.md").read_text()
    write_text(results.out / "report.html", page_of(text, results.out))
    lines = "\n".join(f"- {line}" for line in learned.verdicts(results["learners"]))
    return f"{lines}\ntables, pictures and raw rows: {results.out}".lstrip()


BUDGET = register(
    Experiment(
        "budget",
        "campaigns under a budget: learners against the exact optimum",
        parts=[
            learned.LEARNERS,
            policies.POLICIES,
            contraction.CONTRACTION,
            safety.SAFETY,
            risk.RISK,
            CHOICE,
        ],
        title="Campaigns under a budget",
        sections=_sections,
        pictures={
            "regret.png": _if_run(learned.LEARNERS, learned.draw),
            "spending.png": _if_run(policies.POLICIES, policies.draw_spending),
            "bids.png": _if_run(policies.POLICIES, policies.draw_bids),
            "values.png": _if_run(policies.POLICIES, policies.draw_worth),
            "contraction.png": _if_run(contraction.CONTRACTION, contraction.draw),
            "safety.png": _if_run(safety.SAFETY, safety.draw),
            "risk.png": _if_run(risk.RISK, risk.draw),
            "choice.png": _if_run(CHOICE, choice_report.draw),
        },
        defaults={
            "seeds": 20,
            "steps": 2000,
            "workers": 2,
            "extra_seeds": 5,
            "learners": tuple(CAMPAIGN_LEARNERS),
            "logs": tuple(LOGGERS),
            "fractions": _FRACTIONS,
        },
        quick={
            "seeds": 1,
            "steps": 60,
            "extra_seeds": 1,
            "logs": ("unpaced",),
            "fractions": _FRACTIONS[-1:],
        },
        options=[
            Option(
                "--learners",
                type=list_of(one_of(tuple(CAMPAIGN_LEARNERS))),
                help="comma-separated; all by default",
            ),
            Option(
                "--logs",
                type=list_of(one_of(tuple(LOGGERS))),
                help="unpaced, paced or both (default)",
            ),
            Option(
                "--fractions",
                type=list_of(fraction),
                help="shares of the campaigns; 1,0.25,0.0625 by default",
            ),
            Option(
                "--extra-seeds",
                type=positive_int,
                help="of every other part than the learners'; 5 by default",
            ),
            Option(
                "--tune",
                action="store_true",
                help="first choose every learner's hyperparameters again",
            ),
        ],
        prepare=learned.tune_learners,
        finish=_page,
    )
)
