"""Tables to terminal, CSV and HTML."""
