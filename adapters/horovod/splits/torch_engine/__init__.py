"""Horovod on PyTorch."""
