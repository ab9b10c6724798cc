"""The paper: tables, curves, costs, theory, and a verdict on each of its claims."""
