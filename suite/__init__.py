"""The harness: schedules, launches, measures, analyses and reports; imports no framework."""
