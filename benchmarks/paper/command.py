"""``python -m benchmarks paper``: its options, and what they come to."""

from __future__ import annotations

import argparse
import pathlib
from collections.abc import Sequence

from ..engine.command_line import positive_int
from . import PARTS

__all__ = ["add_command", "run_command"]


def add_command(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Adds the command to those of ``python -m benchmarks``."""
    paper = commands.add_parser(
        "paper", help="every table and claim of the paper, with verdicts and a page"
    )
    paper.add_argument(
        "--only",
        help=f"comma-separated parts of {', '.join(PARTS)}; all by default",
    )
    paper.add_argument("--seeds", type=positive_int, help="of the tables; 20 by default")
    paper.add_argument("--steps", type=positive_int)
    paper.add_argument("--workers", type=positive_int, default=2)
    paper.add_argument(
        "--ray",
        nargs="?",
        const="local",
        metavar="ADDRESS",
        help="run on a Ray cluster; without an address, on one started here",
    )
    paper.add_argument(
        "--quick", action="store_true", help="1 seed, few steps: every path once"
    )
    paper.add_argument(
        "--rebuild",
        action="store_true",
        help="run nothing: verdicts, tables and pictures from the CSV files in --out",
    )
    paper.add_argument(
        "--extend",
        type=pathlib.Path,
        metavar="FOLDER",
        help="take the rows published there as finished: more seeds, nothing run twice",
    )
    paper.add_argument("--out", type=pathlib.Path, default=pathlib.Path("runs/paper"))
    paper.add_argument(
        "--ledger", type=pathlib.Path, help="OUT/paper-claims.md by default"
    )


def run_command(
    parser: argparse.ArgumentParser, given: argparse.Namespace, words: Sequence[str]
) -> None:
    """Runs the experiment that was asked for.

    Args:
        parser: reports errors.
        given: the parsed command line.
        words: as typed.
    """
    from .run import PaperSettings, run_paper

    parts = PARTS
    if given.only is not None:
        parts = tuple(name.strip() for name in given.only.split(","))
        unknown = [name for name in parts if name not in PARTS]
        if unknown:
            parser.error(f"--only must be among {', '.join(PARTS)}; got {unknown}")
    if given.rebuild and not (given.out / "run.json").exists():
        parser.error(f"--rebuild needs a finished run in --out, got {given.out}")
    if given.extend is not None and not any(given.extend.glob("*.csv")):
        parser.error(f"--extend needs a folder with CSV files, got {given.extend}")
    defaults = PaperSettings()
    quick_out = pathlib.Path("runs/paper-quick")
    settings = PaperSettings(
        parts=parts,
        seeds=given.seeds or (1 if given.quick else defaults.seeds),
        curve_seeds=1 if given.quick else min(given.seeds or 5, defaults.curve_seeds),
        steps=given.steps or (60 if given.quick else defaults.steps),
        workers=given.workers,
        ray_address=given.ray,
        quick=given.quick,
        out=quick_out if given.quick and given.out == defaults.out else given.out,
        command=" ".join(["python -m benchmarks", *words]),
    )
    print(run_paper(settings, given.rebuild, given.ledger, given.extend))
