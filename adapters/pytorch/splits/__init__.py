"""The ways of splitting training, one in each file."""
