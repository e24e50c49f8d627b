"""One folder an engine, one file a way of splitting training."""
