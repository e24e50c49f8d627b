"""The commands of ``python -m suite``; each command has a file of its own."""
