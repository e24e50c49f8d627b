"""Starts a group of worker processes, limits its time and memory, and ends it."""
