"""What others offer for a shape, and a hunt for where it breaks."""
