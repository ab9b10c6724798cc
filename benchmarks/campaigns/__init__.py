"""Campaigns under a budget: what a known shape is worth where the sequence matters."""
