"""``python -m benchmarks budget``: campaigns under a budget."""

from __future__ import annotations

from collections.abc import Iterable

from bidclick_gym.campaigns import BudgetedCampaign, shape_report, shape_table, solve

from ..engine import (
    Experiment,
    Option,
    Results,
    Settings,
    fraction,
    list_of,
    one_of,
    positive_int,
    register,
    section,
    write_text,
)
from ..engine.page import page_of
from ..learners import CAMPAIGN_LEARNERS
from . import choice_report, contraction, learned, policies, risk, safety
from .choice import CHOICE
from .training import LOGGERS

_FRACTIONS = (1.0, 0.25, 0.0625)


def _sections(results: Results) -> Iterable[str]:
    campaign = BudgetedCampaign()
    yield f"""\
{campaign.impressions} impressions share a budget of {campaign.budget:g}. A seed draws the
log *and* the training; figures are means over seeds with 95 % bootstrap percentile
intervals, and each table says how many seeds it has. Raw rows are in the CSV files
beside this report."""
    yield from learned.sections(results)
    yield contraction.contraction_section(results)
    yield safety.safety_section(results)
    yield risk.risk_section(results)
    yield choice_report.choice_section(results)
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
            "regret.png": learned.draw,
            "spending.png": policies.draw_spending,
            "bids.png": policies.draw_bids,
            "values.png": policies.draw_worth,
            "contraction.png": contraction.draw,
            "safety.png": safety.draw,
            "risk.png": risk.draw,
            "choice.png": choice_report.draw,
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
            Option.of(
                "--learners",
                type=list_of(one_of(tuple(CAMPAIGN_LEARNERS))),
                help="comma-separated; all by default",
            ),
            Option.of(
                "--logs",
                type=list_of(one_of(tuple(LOGGERS))),
                help="unpaced, paced or both (default)",
            ),
            Option.of(
                "--fractions",
                type=list_of(fraction),
                help="shares of the campaigns; 1,0.25,0.0625 by default",
            ),
            Option.of(
                "--extra-seeds",
                type=positive_int,
                help="of every other part than the learners'; 5 by default",
            ),
            Option.of(
                "--tune",
                action="store_true",
                help="first choose every learner's hyperparameters again",
            ),
        ],
        prepare=learned.tune_learners,
        finish=_page,
    )
)
