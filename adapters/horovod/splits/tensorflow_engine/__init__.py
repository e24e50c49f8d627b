"""The ways of splitting training on Horovod's tensorflow engine."""
