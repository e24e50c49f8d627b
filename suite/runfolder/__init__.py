"""``results/<run>/`` on disk: written, read, upgraded."""
