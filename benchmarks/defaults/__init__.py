"""The same defaults everywhere: how long our critics train, against fixed counts."""
