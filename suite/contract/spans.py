"""Spans of time that may overlap."""

from __future__ import annotations

from collections.abc import Iterable


def union(spans: Iterable[tuple[float, float]]) -> list[tuple[float, float]]:
    """Returns disjoint spans, in order, that cover the same points as the given ones."""
    joined: list[tuple[float, float]] = []
    for start, end in sorted(spans):
        if joined and start <= joined[-1][1]:
            joined[-1] = joined[-1][0], max(joined[-1][1], end)
        else:
            joined.append((start, end))
    return joined


def union_length(spans: Iterable[tuple[float, float]]) -> float:
    """Returns the length of the union of spans, in their unit; overlaps count once."""
    return sum(end - start for start, end in union(spans))
