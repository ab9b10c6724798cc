"""Exact Euclidean projections onto shapes, with exact (generalised) gradients."""

from .methods import has_closed_form, project_onto_set

__all__ = ["has_closed_form", "project_onto_set"]
