"""Logs as columns: the replay buffer, what it samples, what is checked at its door."""

from .buffer import ColumnarReplayBuffer
from .checks import blocks, check_continuous_dataset, check_dataset
from .door import LogWarning, as_numbers
from .files.shards import DamagedFileError
from .fingerprint import fingerprint
from .pickers import BudgetRelabellingTransitionPicker
from .scaling import check_scaler
from .steps import LoggedSteps, logged_steps

__all__ = [
    "BudgetRelabellingTransitionPicker",
    "ColumnarReplayBuffer",
    "DamagedFileError",
    "LogWarning",
    "LoggedSteps",
    "as_numbers",
    "blocks",
    "check_continuous_dataset",
    "check_dataset",
    "check_scaler",
    "fingerprint",
    "logged_steps",
]
