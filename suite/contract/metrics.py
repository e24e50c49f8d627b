"""The table of all metrics, read from the fields of the row that declare them."""

from __future__ import annotations

from dataclasses import fields

from suite.contract.columns import METADATA, Metric
from suite.contract.row import Row

METRICS: tuple[Metric, ...] = tuple(
    Metric(column.name, **column.metadata[METADATA]) for column in fields(Row)
    if METADATA in column.metadata
)
COLUMNS: tuple[str, ...] = tuple(metric.name for metric in METRICS)
BY_NAME: dict[str, Metric] = {metric.name: metric for metric in METRICS}
# The columns that are reduced from figures of the same name in the ranks' records.
FROM_RANKS: tuple[Metric, ...] = tuple(metric for metric in METRICS if metric.from_ranks)
