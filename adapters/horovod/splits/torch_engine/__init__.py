"""The ways of splitting training on Horovod's torch engine."""
