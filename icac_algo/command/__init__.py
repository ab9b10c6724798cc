"""``icac``: from a table of decisions to a policy that can be asked."""
