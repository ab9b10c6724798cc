"""Gymnasium environments of the auction."""
