"""``python -m benchmarks paper``."""

from __future__ import annotations

import pathlib

from ..engine import BrokenCellsError
from .experiments import PaperSettings, read_results, run_parts
from .extend import adopt_published
from .ledger import NOT_RUN, VERDICTS
from .reports import Origin, write_reports

__all__ = ["PaperSettings", "run_paper"]


def run_paper(
    settings: PaperSettings,
    rebuild: bool = False,
    ledger: pathlib.Path | None = None,
    extend: pathlib.Path | None = None,
) -> str:
    """Runs the parts that were asked for, then judges and reports all there are.

    Args:
        settings: what to run.
        rebuild: run nothing; everything from the files in ``settings.out``.
        ledger: where the ledger goes, if not there too.
        extend: folder of published results whose rows count as finished cells.

    Returns:
        the tally of verdicts and where the reports are.

    Raises:
        BrokenCellsError: cells failed.  Reports are written all the same, from the parts
            that are complete.
    """
    broken: BrokenCellsError | None = None
    if not rebuild:
        if extend is not None:
            adopt_published(settings, extend)
        try:
            run_parts(settings)
        except BrokenCellsError as error:
            broken = error
        Origin.now(settings.command).write(settings.out)
    out = settings.out
    entries = write_reports(read_results(out), Origin.read(out), out, ledger)
    if broken is not None:
        raise broken
    verdicts = [entry.judgement.verdict for entry in entries]
    tally = "\n".join(
        f"{verdicts.count(v):4d}  {v}" for v in (*VERDICTS, NOT_RUN) if verdicts.count(v)
    )
    return (
        f"{len(entries)} claims\n{tally}\n"
        f"page: {out / 'report.html'}\n"
        f"ledger: {ledger or out / 'paper-claims.md'}"
    )
