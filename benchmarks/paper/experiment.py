"""``python -m benchmarks paper``: its parts, the quickest first, and its options."""

from __future__ import annotations

import pathlib

from ..engine import Experiment, Option, register
from .cost import COST_PART
from .curves import CURVES_PART
from .interpretations import INTERPRETATIONS_PART
from .pictures import PICTURES
from .report import TITLE, finish, sections
from .table1 import TABLE1_PART
from .table2 import TABLE2_PART
from .theory import THEORY_PART

PAPER = register(
    Experiment(
        "paper",
        "every table and claim of the paper, with verdicts",
        parts=[
            THEORY_PART,
            INTERPRETATIONS_PART,
            COST_PART,
            TABLE1_PART,
            TABLE2_PART,
            CURVES_PART,
        ],
        title=TITLE,
        sections=sections,
        pictures=PICTURES,
        defaults={"seeds": 20, "steps": 5000, "workers": 2, "ray": None},
        quick={"seeds": 1, "steps": 60},
        options=[
            Option(
                "--ledger",
                type=pathlib.Path,
                help="file of the ledger; OUT/paper-claims.md by default",
            )
        ],
        finish=finish,
    )
)
