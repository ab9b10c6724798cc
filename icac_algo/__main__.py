"""``python -m icac_algo``: the same as ``icac``."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from ._util.command_line import exit_status
from .command import run


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs a command line and returns its exit status."""
    return run(sys.argv[1:] if arguments is None else list(arguments))


def console() -> None:
    """What ``icac`` calls."""
    raise SystemExit(exit_status(main))


if __name__ == "__main__":
    console()
