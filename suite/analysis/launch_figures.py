"""Reduces a case's launches to what readers and comparisons need, without the raw samples."""

from __future__ import annotations

import statistics
from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from suite.analysis.statistics import median
from suite.analysis.traced import ProbedLaunch
from suite.contract.case import Case
from suite.contract.columns import Metric
from suite.contract.metrics import FROM_RANKS
from suite.contract.records import RECORD_FIELDS, Launch
from suite.contract.row import Samples

QUANTILES = (0.0, 0.05, 0.25, 0.5, 0.75, 0.95, 1.0)
SAMPLE_SIZE = 200


def launch_samples(
    launches: Sequence[Launch | None], steps: Sequence[np.ndarray], case: Case
) -> Samples:
    """Computes the figures that every single launch has.

    Args:
        launches: Records of each block's launch; None where it failed.
        steps: (steps,) of each launch that finished: the slowest rank's seconds.
        case: The case.

    Returns:
        Column to its figure in each block, in the unit of the column; None where there is none.
    """
    finished = iter(steps)
    return _by_name([_figures(records, next(finished), case) if records else {}
                     for records in launches])


def probe_samples(
    launches: Sequence[Launch | None], reduced: Mapping[int, ProbedLaunch | None]
) -> Samples:
    """Collects the figures of single launches that come from probes.

    Args:
        launches: Records of each block's launch; None where it failed.
        reduced: Number of a block to what its probes gave.

    Returns:
        Column to its figure in each block, in the unit of the column; None where there is none.
    """
    probed = [reduced.get(block) if records else None for block, records in enumerate(launches)]
    return _by_name([launch.columns if launch else {} for launch in probed])


def _by_name(blocks: Sequence[Mapping[str, float]]) -> Samples:
    names = dict.fromkeys(name for figures in blocks for name in figures)
    return {name: [figures.get(name) for figures in blocks] for name in names}


def _figures(records: Launch, steps: np.ndarray, case: Case) -> dict[str, float]:
    total, samples = float(steps.sum()), case.spec.global_batch * len(steps)
    figures = {
        "step_time_s": median(steps),
        "time_s": total,
        "throughput_samples_s": samples / total,
        "flops_per_s": case.spec.flops_per_sample() * samples / total,
    }
    if case.spec.tokens_per_sample:
        figures["throughput_tokens_s"] = samples * case.spec.tokens_per_sample / total
    told = {metric.name: reduce_ranks(metric, [records]) for metric in _reported(records)}
    return figures | {name: float(value) for name, value in told.items() if value is not None}


def _reported(records: Launch) -> Iterator[Metric]:
    """Yields the metrics that these ranks may have measured, which are few of all."""
    for metric in FROM_RANKS:
        if metric.name in RECORD_FIELDS or any(metric.name in one.figures for one in records):
            yield metric


def reduce_ranks(metric: Metric, launches: Sequence[Launch]) -> float | None:
    """Reduces what each rank of each launch measured to the figure of a column.

    Args:
        metric: A column whose ``from_ranks`` says how.
        launches: The ranks' records of each launch that finished.

    Returns:
        The figure in the unit of the column; None if no rank measured it.
    """
    each = [[record.figure(metric.name) for record in records] for records in launches]
    told = [known for figures in each
            if (known := [figure for figure in figures if figure is not None])]
    if not told:
        return None
    if metric.from_ranks == "sum":
        return statistics.median(sum(figures) for figures in told)
    every = [figure for figures in told for figure in figures]
    return max(every) if metric.from_ranks == "largest" else statistics.median(every)


def step_summary(steps: np.ndarray) -> dict[str, list[float]]:
    """Summarises all clean steps of a case by quantiles and a bounded sample.

    Args:
        steps: (steps,) seconds, in the order they ran.

    Returns:
        ``step_quantiles_s`` at ``QUANTILES``, and ``step_sample_s``, at most ``SAMPLE_SIZE`` steps
        at even distances, so that a page does not grow with the run.
    """
    ordered = np.sort(steps)
    places = np.asarray(QUANTILES) * (len(steps) - 1)
    quantiles = np.interp(places, np.arange(len(steps)), ordered)
    sample = steps
    if len(steps) > SAMPLE_SIZE:
        sample = steps[np.linspace(0, len(steps) - 1, SAMPLE_SIZE).round().astype(int)]
    return {"step_quantiles_s": quantiles.tolist(), "step_sample_s": sample.tolist()}
