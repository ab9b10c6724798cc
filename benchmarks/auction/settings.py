"""What ``python -m benchmarks table1`` can be asked for."""

from __future__ import annotations

import dataclasses
import pathlib

from ..learners import AUCTION_LEARNERS

__all__ = ["Settings"]


@dataclasses.dataclass(frozen=True)
class Settings:
    """One run of Table I.

    Args:
        env: Gymnasium id of the auction.
        algorithms: names in ``AUCTION_LEARNERS``.
        seeds: number of seeds, from 0.
        steps: gradient steps.
        fraction: share of the log.
        online: also SB3's algorithms, which explore; as many impressions as the log.
        workers: processes.
        out: folder of results.
        command: the command line, for the report.
    """

    env: str = "BidClick-v0"
    algorithms: tuple[str, ...] = tuple(AUCTION_LEARNERS)
    seeds: int = 5
    steps: int = 5000
    fraction: float = 1.0
    online: bool = False
    workers: int = 2
    out: pathlib.Path = pathlib.Path("runs/table1")
    command: str = "python -m benchmarks table1"
