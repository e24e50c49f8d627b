"""One folder a framework."""
