"""Campaigns under a budget: ``python -m benchmarks budget``."""
