"""``results/<run>/`` on disk: writes it, reads it, and upgrades what older versions wrote."""
