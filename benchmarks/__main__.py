"""``python -m benchmarks NAME``."""

from __future__ import annotations

import argparse
import pathlib
import sys
from collections.abc import Sequence

# Each registers its experiments.
from .auction import gallery, ope, priors, regret, robustness, table1, tune  # noqa: F401
from .campaigns import budget  # noqa: F401
from .engine import EXPERIMENTS
from .engine.command_line import add_command, check_folders, dispatch
from .paper import command as paper
from .timing.speed import PARTS, run_speed


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    for experiment in EXPERIMENTS.values():
        add_command(commands, experiment)
    speed = commands.add_parser(
        "speed", help="training, loading and stepping, timed against d3rlpy"
    )
    speed.add_argument("--only", help="comma-separated; all of fit, load, env by default")
    speed.add_argument("--quick", action="store_true", help="everything at toy size")
    speed.add_argument(
        "--huge", action="store_true", help="also 100 million impressions (3 GB of disk)"
    )
    speed.add_argument("--out", type=pathlib.Path, default=pathlib.Path("runs/speed"))
    shapes = commands.add_parser(
        "shapes", help="the projection layer: time and error, against other solvers"
    )
    shapes.add_argument("--quick", action="store_true", help="toy rounds")
    shapes.add_argument(
        "--rivals-python",
        metavar="PATH",
        help="interpreter of an environment with qpth, cvxpylayers and torchisotonic; "
        "without it they are not run",
    )
    shapes.add_argument("--out", type=pathlib.Path, default=pathlib.Path("runs/shapes"))
    paper.add_command(commands)
    return parser


def main(arguments: Sequence[str] | None = None) -> None:
    """Parses the command line and runs one experiment."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    parser = _parser()
    given = parser.parse_args(words)
    check_folders(parser, vars(given))
    if given.command == "speed":
        run_speed(given.out, _known_parts(parser, given.only), given.quick, given.huge)
        print((given.out / "speed.md").read_text())
    elif given.command == "shapes":
        _shapes(parser, given, words)
    elif given.command == "paper":
        paper.run_command(parser, given, words)
    else:
        dispatch(parser, vars(given), words)


def _shapes(
    parser: argparse.ArgumentParser, given: argparse.Namespace, words: Sequence[str]
) -> None:
    # Imported here: no other benchmark needs quadprog.
    from .timing.projections import run_shapes
    from .timing.rivals_client import RivalsPythonError

    command = " ".join(["python -m benchmarks", *words])
    try:
        run_shapes(given.out, given.quick, given.rivals_python, command)
    except RivalsPythonError as error:
        parser.error(str(error))
    print((given.out / "shapes.md").read_text())


def _known_parts(parser: argparse.ArgumentParser, names: str | None) -> tuple[str, ...]:
    chosen = PARTS if names is None else tuple(n.strip() for n in names.split(","))
    unknown = [name for name in chosen if name not in PARTS]
    if unknown:
        parser.error(f"--only must be among {', '.join(PARTS)}; got {unknown}")
    return chosen


if __name__ == "__main__":
    main()
