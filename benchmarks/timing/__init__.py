"""Speed of training, loading, stepping and projecting."""
