"""``python -m suite``: one file a command."""
