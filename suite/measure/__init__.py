"""Schedules launches, proves them, and decides when a run ends."""
