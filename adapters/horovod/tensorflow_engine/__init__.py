"""Horovod on TensorFlow."""
