"""One file a way of splitting training."""
