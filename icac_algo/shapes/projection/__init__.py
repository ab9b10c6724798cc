"""Exact Euclidean projections onto shapes, with exact (generalised) gradients."""

from .onto_set import has_closed_form, project_onto_set

__all__ = ["has_closed_form", "project_onto_set"]
