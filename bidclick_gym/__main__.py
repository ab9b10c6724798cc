"""``python -m bidclick_gym log``: long logs as shards in a folder."""

from __future__ import annotations

import argparse
import pathlib
import shlex
import sys
from collections.abc import Sequence

from ._command_line import BAD_INPUT, EXIT_STATUSES, INTERRUPTED, exit_status, say
from .logs import write_shards
from .logs.shards import AUCTIONS, FORMATS

NOT_WRITTEN = 1


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs a command line and returns its exit status."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    options = _parser().parse_args(given)
    try:
        folder = write_shards(
            options.out,
            options.impressions,
            env_id=options.env,
            seed=options.seed,
            workers=options.workers,
            shard_size=options.shard_size,
            format=options.format,
            progress=sys.stderr is not None,
        )
    except KeyboardInterrupt:
        command = shlex.join(["python", "-m", "bidclick_gym", *given])
        say(
            f"\ninterrupted with {_whole(options)} whole shards in {options.out}; "
            f"to go on:\n  {command}"
        )
        return INTERRUPTED
    except (ValueError, FileExistsError, ImportError) as error:
        say(f"error: {error}")
        return BAD_INPUT
    except OSError as error:
        say(
            f"error: {error}\n{_whole(options)} whole shards are kept in "
            f"{options.out}; the same command goes on from there"
        )
        return NOT_WRITTEN
    print(folder / "manifest.json")
    return 0


def _whole(options: argparse.Namespace) -> int:
    return len(list(options.out.glob(f"shard-*.{options.format}")))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m bidclick_gym")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    log = commands.add_parser(
        "log",
        help="write a log of any length",
        description="Writes the paper's log at any length, as shards in a folder. "
        "Interrupted, the same command goes on with the shards that are missing.",
        epilog=f"Exit status: 0 written, 1 a file cannot be written; {EXIT_STATUSES}.",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    log.add_argument("--out", type=pathlib.Path, required=True, help="folder")
    log.add_argument(
        "--impressions", type=int, required=True, help="how many, such as 100_000_000"
    )
    log.add_argument("--env", choices=list(AUCTIONS), default="BidClick-v0", help="id")
    log.add_argument("--seed", type=int, default=0, help="of everything random")
    log.add_argument(
        "--workers", type=int, help="processes; one for each core if not given"
    )
    log.add_argument(
        "--shard-size",
        type=int,
        default=1_000_000,
        help="impressions of a shard, a multiple of 1000",
    )
    log.add_argument(
        "--format", choices=FORMATS, default="arrow", help="arrow can be memory mapped"
    )
    return parser


if __name__ == "__main__":
    raise SystemExit(exit_status(main))
