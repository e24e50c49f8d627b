"""Turns rows and comparisons into what readers see, in a terminal, as CSV and as a page."""
