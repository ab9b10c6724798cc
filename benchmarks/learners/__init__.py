"""Every learner that a table names, with its settings."""

from .auction import AUCTION_LEARNERS, CLICK_MODEL, COST_FEATURE
from .campaigns import CAMPAIGN_LEARNERS
from .click_model import ClickModel
from .learner import (
    BATCH_SIZE,
    HIDDEN_UNITS,
    LEARNING_RATE,
    Learner,
    constraint_aware_q,
    fit_quietly,
    hidden_layers,
    registry,
    reward_scaler,
    shared_settings,
)

__all__ = [
    "AUCTION_LEARNERS",
    "BATCH_SIZE",
    "CAMPAIGN_LEARNERS",
    "CLICK_MODEL",
    "COST_FEATURE",
    "HIDDEN_UNITS",
    "LEARNING_RATE",
    "ClickModel",
    "Learner",
    "constraint_aware_q",
    "fit_quietly",
    "hidden_layers",
    "registry",
    "reward_scaler",
    "shared_settings",
]
