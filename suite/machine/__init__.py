"""Asks the machine: devices, memory, calibration, what is installed."""
