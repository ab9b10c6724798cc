"""``python -m benchmarks budget``: its options, and what they come to."""

from __future__ import annotations

import argparse
import dataclasses
import pathlib
from collections.abc import Sequence
from typing import Any

from ..engine.command_line import fraction, list_of, positive_int

__all__ = ["add_command", "run_command"]


def add_command(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Adds the command to those of ``python -m benchmarks``."""
    budget = commands.add_parser(
        "budget", help="campaigns under a budget: learners against the exact optimum"
    )
    budget.add_argument(
        "--only",
        help="comma-separated parts of learners, contraction, safety, risk, choice; all "
        "by default",
    )
    budget.add_argument("--learners", help="comma-separated; all by default")
    budget.add_argument("--logs", help="unpaced, paced or both (default)")
    budget.add_argument(
        "--fractions",
        type=list_of(fraction),
        help="shares of the campaigns; 1,0.25,0.0625 by default",
    )
    budget.add_argument(
        "--seeds", type=positive_int, help="of the learners; 20 by default"
    )
    budget.add_argument(
        "--extra-seeds", type=positive_int, help="of every other part; 5 by default"
    )
    budget.add_argument("--steps", type=positive_int)
    budget.add_argument("--workers", type=positive_int, default=2)
    budget.add_argument(
        "--quick", action="store_true", help="1 seed, 60 steps: the whole path once"
    )
    budget.add_argument(
        "--tune",
        action="store_true",
        help="first choose every learner's hyperparameters again",
    )
    budget.add_argument(
        "--rebuild",
        action="store_true",
        help="run nothing: reports from what is finished in --out, or its CSV files",
    )
    budget.add_argument("--out", type=pathlib.Path)


def run_command(
    parser: argparse.ArgumentParser, given: argparse.Namespace, words: Sequence[str]
) -> None:
    """Runs the experiment that was asked for.

    Args:
        parser: reports errors.
        given: the parsed command line.
        words: as typed.
    """
    from ..learners.campaigns import CAMPAIGN_LEARNERS
    from .cells import LOGGERS
    from .run import PARTS, BudgetSettings, run_budget
    from .tuning import tune_budget

    def chosen(option: str, known: Sequence[str], default: tuple[str, ...]) -> Any:
        text = getattr(given, option)
        names = default if text is None else tuple(n.strip() for n in text.split(","))
        if set(names) - set(known) or len(set(names)) < len(names):
            parser.error(
                f"--{option} must name each once, of {', '.join(known)}; got {text!r}"
            )
        return names

    defaults = BudgetSettings()
    if given.quick:
        defaults = dataclasses.replace(
            defaults,
            seeds=1,
            extra_seeds=1,
            steps=60,
            logs=defaults.logs[:1],
            fractions=defaults.fractions[-1:],
            out=pathlib.Path("runs/budget-quick"),
        )
    settings = dataclasses.replace(
        defaults,
        parts=chosen("only", PARTS, defaults.parts),
        learners=chosen("learners", tuple(CAMPAIGN_LEARNERS), defaults.learners),
        logs=chosen("logs", tuple(LOGGERS), defaults.logs),
        fractions=given.fractions or defaults.fractions,
        seeds=given.seeds or defaults.seeds,
        extra_seeds=given.extra_seeds or defaults.extra_seeds,
        steps=given.steps or defaults.steps,
        workers=given.workers,
        rebuild=given.rebuild,
        out=given.out or defaults.out,
        command=" ".join(["python -m benchmarks", *words]),
    )
    if given.tune:
        tune_budget(
            settings.out / "tuning",
            settings.steps,
            settings.workers,
            settings.learners,
            settings.logs,
        )
    try:
        for line in run_budget(settings):
            print(f"- {line}")
    except FileNotFoundError as error:
        parser.error(str(error))
    print(f"tables, pictures and raw rows: {settings.out}")
