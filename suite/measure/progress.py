"""What a run tells on its way, for whoever shows it."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Progress:
    """What has just happened, and how far the run is.

    ``left_s`` is the estimated number of seconds that are left, or None at first.
    """

    text: str
    done: int
    total: int
    left_s: float | None
