"""Every learner that a table names."""
