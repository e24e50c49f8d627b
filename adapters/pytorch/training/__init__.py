"""Training on one device, its number formats and its probes."""
