"""Logs with a known truth: profit from outcomes of known shape, against what others do."""
