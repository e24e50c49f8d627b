"""The contract between harness and adapters; imports nothing of the project."""
