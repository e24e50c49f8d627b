"""Asks the machine: its devices, memory and speed, and what is installed."""
