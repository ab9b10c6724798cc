"""Realistic logs with a known truth: profit from outcomes of known shape."""
