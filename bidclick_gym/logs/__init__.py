"""Logs of the auction: columns, Minari datasets, shards."""
