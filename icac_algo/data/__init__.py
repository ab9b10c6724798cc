"""Logs as columns: the replay buffer, what it samples, what is checked at its door."""

from .buffer import ColumnarReplayBuffer
from .checks import action_range, blocks, check_continuous_dataset, check_dataset
from .columns import Columns
from .door import LogWarning, as_numbers
from .extras import REWARD, extra_values, find_extra
from .files.shards import DamagedFileError
from .fingerprint import fingerprint
from .pickers import BudgetRelabellingTransitionPicker
from .scaling import check_scaler
from .steps import (
    FEWEST_NUMBERS,
    LoggedSteps,
    logged_blocks,
    logged_buffer,
    logged_steps,
    number_steps,
    sampled,
)
from .views import LoggedMiniBatch

__all__ = [
    "FEWEST_NUMBERS",
    "REWARD",
    "BudgetRelabellingTransitionPicker",
    "ColumnarReplayBuffer",
    "Columns",
    "DamagedFileError",
    "LogWarning",
    "LoggedMiniBatch",
    "LoggedSteps",
    "action_range",
    "as_numbers",
    "blocks",
    "check_continuous_dataset",
    "check_dataset",
    "check_scaler",
    "extra_values",
    "find_extra",
    "fingerprint",
    "logged_blocks",
    "logged_buffer",
    "logged_steps",
    "number_steps",
    "sampled",
]
