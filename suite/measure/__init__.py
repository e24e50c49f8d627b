"""Schedules launches, proves their results, and decides when a run ends."""
