"""Goes with the last module that imports it."""

from ..engine import versions

__all__ = ["versions"]
