"""``icac check-prior``: is a shape true of a log of numbers?"""

from __future__ import annotations

import argparse
import pathlib
import sys
from collections.abc import Sequence
from typing import Any

from .._util.checks import check_path
from .._util.command_line import BAD_INPUT, EXIT_STATUSES, say
from .._util.files import written_beside
from ..data import ColumnarReplayBuffer, LoggedSteps, logged_steps
from ..evidence import PriorCheck, check_prior
from ..shapes import SHAPE_NAMES, parse_known_cost, parse_shape

STATUSES = {"not rejected": 0, "rejected": 1, "cannot tell": 3}


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs a command line; 0 is not rejected, 1 rejected, 3 cannot tell, 2 bad input."""
    options = _parser().parse_args(arguments)
    try:
        check = _checked(options)
        if options.plot is not None:
            figure = check.plot()
            with written_beside(options.plot) as beside:
                figure.savefig(beside, dpi=150)
    except (ValueError, TypeError, OSError, ImportError) as error:
        say(f"error: {error}")
        return BAD_INPUT
    print(check)
    if options.plot is not None:
        print(f"\n{options.plot}")
    return STATUSES[check.verdict]


def _checked(options: argparse.Namespace) -> PriorCheck:
    if options.plot is not None:
        _check_picture(options.plot)
    names = options.observation
    cost = options.known_cost and parse_known_cost(options.known_cost, names or ())
    constraint = parse_shape(options.constraint, options.actions, cost)
    steps = _read(options)
    return check_prior(
        steps,
        constraint,
        level=options.level,
        min_support=options.min_support,
        feature_names=names,
        seed=options.seed,
        show_progress=sys.stderr is not None and sys.stderr.isatty(),
    )


def _check_picture(path: pathlib.Path) -> None:
    check_path("--plot", path)
    if path.is_dir():
        raise ValueError(f"--plot must be a file, got the folder {path}")
    if not path.absolute().parent.is_dir():
        raise ValueError(f"--plot must be in a folder that exists, got {path}")
    if path.suffix not in (".png", ".svg"):
        raise ValueError(f"--plot must end with .png or .svg, got {path}")


def _read(options: argparse.Namespace) -> LoggedSteps:
    check_path("DATASET", options.dataset)
    try:
        return logged_steps(_open(options))
    except (ValueError, OSError, ImportError):
        raise
    except Exception as error:
        # Libraries that read files have errors of every kind for what is broken.
        kind = type(error).__name__
        raise ValueError(f"{options.dataset} cannot be read: {kind}: {error}") from error


def _open(options: argparse.Namespace) -> Any:
    path = pathlib.Path(options.dataset)
    if path.exists():
        if options.observation is None:
            raise ValueError(f"--observation must name the columns of features in {path}")
        return ColumnarReplayBuffer.from_parquet(
            path,
            observation=options.observation,
            action=options.action or "action",
            reward=options.reward or "reward",
            propensity=options.propensity,
        )
    import minari

    known = sorted(minari.list_local_datasets())
    if options.dataset not in known:
        raise ValueError(
            f"DATASET must be a file, a folder or the id of a local Minari dataset "
            f"({', '.join(known) or 'there are none'}), got {options.dataset!r}"
        )
    for name in ("action", "reward", "propensity"):
        if (column := getattr(options, name)) is not None:
            raise ValueError(
                f"--{name} must be left out: a Minari dataset has no columns to name, "
                f"got {column!r}"
            )
    return options.dataset


def _parser() -> argparse.ArgumentParser:
    check = argparse.ArgumentParser(
        prog="icac check-prior",
        description="Tests a shape against a log before it is imposed.",
        epilog="Exit status: 0 not rejected, 1 rejected, 3 the log cannot tell; "
        f"{EXIT_STATUSES}.",
    )
    check.add_argument(
        "dataset",
        metavar="DATASET",
        help="id of a local Minari dataset, or Parquet, Arrow, Feather or CSV files",
    )
    check.add_argument(
        "--constraint",
        required=True,
        help=f"{', '.join(SHAPE_NAMES)}; fields as in monotone:increasing=false, several "
        "joined by +",
    )
    check.add_argument(
        "--known-cost",
        metavar="FEATURE[:COEFFICIENT]",
        help="add back coefficient * observation[FEATURE] * action first; FEATURE is an "
        "index or a name of --observation",
    )
    check.add_argument(
        "--actions",
        type=float,
        nargs="+",
        metavar="POSITION",
        help="of the actions in order; equally spaced on [0, 1] by default",
    )
    check.add_argument("--level", type=float, default=0.05, help="default 0.05")
    check.add_argument("--min-support", type=int, default=30, help="default 30")
    check.add_argument("--seed", type=int, default=0, help="of folds and bootstrap")
    check.add_argument("--plot", type=pathlib.Path, metavar="FILE", help="PNG or SVG")
    check.add_argument(
        "--observation",
        nargs="+",
        metavar="COLUMN",
        help="columns of a table that are the features; names of a Minari dataset's",
    )
    table = check.add_argument_group("other columns of a table")
    table.add_argument("--action", metavar="COLUMN", help="action by default")
    table.add_argument("--reward", metavar="COLUMN", help="reward by default")
    table.add_argument("--propensity", metavar="COLUMN", help="estimated if not given")
    return check
