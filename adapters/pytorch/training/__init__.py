"""Training on a single device in PyTorch: the session, its number formats and its probes."""
