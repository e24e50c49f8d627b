"""Training on one device, its optimiser and its probes."""
