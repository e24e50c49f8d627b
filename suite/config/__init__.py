"""What a user may ask for. Every option is validated here, once, before anything is written."""
