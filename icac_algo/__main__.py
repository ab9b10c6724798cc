"""``python -m icac_algo check-prior``: is a shape true of a log?"""

from __future__ import annotations

import argparse
import pathlib
import sys
from collections.abc import Sequence
from typing import Any

from ._util.checks import check_path
from ._util.files import written_beside
from .data import ColumnarReplayBuffer
from .evidence import check_prior
from .shapes import SHAPE_NAMES, parse_known_cost, parse_shape

REJECTED = 1
BAD_INPUT = 2


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs a command line; 0 is not rejected, 1 rejected, 3 cannot tell, 2 bad input."""
    options = _parser().parse_args(arguments)
    try:
        if options.plot is not None:
            _check_picture(options.plot)
        cost = options.known_cost and parse_known_cost(options.known_cost)
        constraint = parse_shape(options.constraint, options.actions, cost)
        dataset, names = _open(options)
        check = check_prior(
            dataset,
            constraint,
            level=options.level,
            min_support=options.min_support,
            feature_names=names,
            seed=options.seed,
        )
        print(check)
        if options.plot is not None:
            figure = check.plot()
            with written_beside(options.plot) as beside:
                figure.savefig(beside, dpi=150)
            print(f"\n{options.plot}")
    except (ValueError, OSError, ImportError) as error:
        print(f"error: {error}", file=sys.stderr)
        return BAD_INPUT
    return {"not rejected": 0, "rejected": REJECTED, "cannot tell": 3}[check.verdict]


def _check_picture(path: pathlib.Path) -> None:
    check_path("--plot", path)
    if path.is_dir():
        raise ValueError(f"--plot must be a file, got the folder {path}")
    if not path.absolute().parent.is_dir():
        raise ValueError(f"--plot must be in a folder that exists, got {path}")
    if path.suffix not in (".png", ".svg"):
        raise ValueError(f"--plot must end with .png or .svg, got {path}")


def _open(options: argparse.Namespace) -> tuple[Any, list[str] | None]:
    path = pathlib.Path(options.dataset)
    if not path.exists():
        return _minari(options.dataset), None
    buffer = ColumnarReplayBuffer.from_parquet(
        path,
        observation=options.observation,
        action=options.action,
        reward=options.reward,
        propensity=options.propensity,
    )
    return buffer, list(options.observation)


def _minari(name: str) -> Any:
    import minari

    known = sorted(minari.list_local_datasets())
    if name not in known:
        raise ValueError(
            f"DATASET must be a file, a folder or the id of a local Minari dataset "
            f"({', '.join(known) or 'there are none'}), got {name!r}"
        )
    return name


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m icac_algo")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    check = commands.add_parser(
        "check-prior",
        help="test a shape against a log",
        description="Tests a shape against a log before it is imposed. Exit status: "
        "0 not rejected, 1 rejected, 2 bad input, 3 cannot tell.",
    )
    check.add_argument(
        "dataset",
        metavar="DATASET",
        help="id of a local Minari dataset, or Parquet, Arrow or Feather files",
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
        help="add back coefficient * observation[FEATURE] * action first",
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
    table = check.add_argument_group("columns of a table")
    table.add_argument("--observation", nargs="+", default=["x", "c"], metavar="COLUMN")
    table.add_argument("--action", default="action", metavar="COLUMN")
    table.add_argument("--reward", default="reward", metavar="COLUMN")
    table.add_argument("--propensity", metavar="COLUMN", help="estimated if not given")
    return parser


if __name__ == "__main__":
    raise SystemExit(main())
