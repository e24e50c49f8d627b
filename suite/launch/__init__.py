"""Starts one group of worker processes and bounds it."""
