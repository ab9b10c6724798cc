"""``python -m benchmarks budget``: campaigns under a budget."""

from __future__ import annotations

from collections.abc import Iterable

from bidclick_gym.campaigns import BudgetedCampaign

from ..engine import Experiment, Option, Results, register
from ..engine.command_line import fraction, list_of, one_of
from ..learners import CAMPAIGN_LEARNERS
from . import learned
from .training import LOGGERS

_FRACTIONS = (1.0, 0.25, 0.0625)


def _sections(results: Results) -> Iterable[str]:
    campaign, rows = BudgetedCampaign(), results["learners"]
    yield f"""\
{campaign.impressions} impressions share a budget of {campaign.budget:g}. A seed draws the
log *and* the training; figures are means over seeds with 95 % bootstrap percentile
intervals, and each table says how many seeds it has. Raw rows are in `results.csv`
beside this report."""
    yield learned.verdict_section(rows)
    yield learned.learner_section(rows)


BUDGET = register(
    Experiment(
        "budget",
        "campaigns under a budget: learners against the exact optimum",
        parts=[learned.LEARNERS],
        title="Campaigns under a budget",
        sections=_sections,
        pictures={"regret.png": lambda results: learned.draw(results["learners"])},
        defaults={
            "seeds": 20,
            "steps": 2000,
            "workers": 2,
            "learners": tuple(CAMPAIGN_LEARNERS),
            "logs": tuple(LOGGERS),
            "fractions": _FRACTIONS,
        },
        quick={"seeds": 1, "steps": 60, "logs": ("unpaced",), "fractions": (0.0625,)},
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
                "--tune",
                action="store_true",
                help="first choose every learner's hyperparameters again",
            ),
        ],
        prepare=learned.tune_learners,
    )
)
