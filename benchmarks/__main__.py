"""``python -m benchmarks NAME``."""

from __future__ import annotations

from icac_algo._util.command_line import exit_status

# Each registers its experiments.
from .auction import gallery, ope, priors, regret, table1, tune  # noqa: F401
from .campaigns import budget  # noqa: F401
from .defaults import steps  # noqa: F401
from .engine.command_line import main
from .paper import experiment as paper  # noqa: F401
from .realistic import proofs, realistic, waiting, warfarin  # noqa: F401
from .replay import replay  # noqa: F401
from .rivals import violations  # noqa: F401
from .timing import projections, speed  # noqa: F401

if __name__ == "__main__":
    raise SystemExit(exit_status(main))
