"""Every learner that a table names, with its settings."""

from .auction import AUCTION_LEARNERS, CLICK_MODEL
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
    trained,
)
from .online import ENVS, ONLINE_LEARNERS, PPO_EPOCHS, PPO_ROLLOUTS
from .priors import PRIOR_LEARNERS

__all__ = [
    "AUCTION_LEARNERS",
    "BATCH_SIZE",
    "CAMPAIGN_LEARNERS",
    "CLICK_MODEL",
    "ENVS",
    "HIDDEN_UNITS",
    "LEARNING_RATE",
    "ONLINE_LEARNERS",
    "PPO_EPOCHS",
    "PPO_ROLLOUTS",
    "PRIOR_LEARNERS",
    "ClickModel",
    "Learner",
    "constraint_aware_q",
    "fit_quietly",
    "hidden_layers",
    "registry",
    "reward_scaler",
    "trained",
]
