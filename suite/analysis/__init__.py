"""Turns the records of a run into rows, and compares rows."""
