"""Predicts and advises: what a step would take under other splits and on other machines."""
