"""``icac``: from a table of decisions to a policy that can be asked."""

from .main import run

__all__ = ["run"]
