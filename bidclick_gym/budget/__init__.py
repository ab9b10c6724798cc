"""Campaigns under a budget: ``BidClickBudget-v0``, its exact optimum, its logs."""
