"""Tests of what is predicted."""
