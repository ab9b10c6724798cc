"""What every experiment shares: cells, sweep, rows, tuning, pictures, reports, timing.

Here is what runs an experiment.  What its report is made of comes from the files: `rows`,
`intervals`, `markdown`, `pictures`; searches from `tuning`, clocks from `timing`.
"""

from .cell import Cell
from .experiment import (
    EXPERIMENTS,
    Experiment,
    Option,
    Origin,
    Part,
    Results,
    Settings,
    UsageError,
    keys_of,
    register,
    report_of,
    run,
    versions,
)
from .sweep import BrokenCellsError, quiet_logs, run_cells

__all__ = [
    "EXPERIMENTS",
    "BrokenCellsError",
    "Cell",
    "Experiment",
    "Option",
    "Origin",
    "Part",
    "Results",
    "Settings",
    "UsageError",
    "keys_of",
    "quiet_logs",
    "register",
    "report_of",
    "run",
    "run_cells",
    "versions",
]
