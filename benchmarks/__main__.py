"""``python -m benchmarks NAME``."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

# Each registers its experiments.
from .auction import gallery, ope, priors, regret, robustness, table1, tune  # noqa: F401
from .campaigns import command as budget
from .engine import EXPERIMENTS
from .engine.command_line import add_command, check_folders, dispatch
from .paper import experiment as paper  # noqa: F401
from .timing import projections, speed  # noqa: F401


def main(arguments: Sequence[str] | None = None) -> None:
    """Parses the command line and runs one experiment."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    for experiment in EXPERIMENTS.values():
        add_command(commands, experiment)
    budget.add_command(commands)
    given = parser.parse_args(words)
    check_folders(parser, vars(given))
    if given.command in EXPERIMENTS:
        dispatch(parser, vars(given), words)
    else:
        budget.run_command(parser, given, words)


if __name__ == "__main__":
    main()
