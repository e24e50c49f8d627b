"""Training in TensorFlow in a single process: the session, its optimiser and its probes."""
