"""Auctions of a user's own file, replayed: learners from a log of random bids."""
