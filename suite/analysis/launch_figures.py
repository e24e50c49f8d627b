"""What a reader or a comparison needs of a case's launches without its raw samples."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence

import numpy as np

from suite.analysis.statistics import median
from suite.analysis.traced import Reduced
from suite.contract.case import Case
from suite.contract.columns import Metric
from suite.contract.metrics import FROM_RANKS
from suite.contract.records import Launch
from suite.contract.row import Samples

QUANTILES = (0.0, 0.05, 0.25, 0.5, 0.75, 0.95, 1.0)
SAMPLE_SIZE = 200


def launch_samples(
    launches: Sequence[Launch | None], steps: Sequence[np.ndarray], case: Case
) -> Samples:
    """Metric -> its figure in each block, in the unit of its column; None where there is none.

    ``steps`` are the slowest rank's, seconds, of each launch that finished.
    """
    finished = iter(steps)
    return _by_name([_figures(one, next(finished), case) if one else {} for one in launches])


def probe_samples(
    launches: Sequence[Launch | None], reduced: Mapping[int, Reduced | None]
) -> Samples:
    """The same for the columns that probes give."""
    found = [reduced.get(number) if one else None for number, one in enumerate(launches)]
    return _by_name([one.columns if one else {} for one in found])


def _by_name(blocks: Sequence[Mapping[str, float]]) -> Samples:
    names = dict.fromkeys(name for figures in blocks for name in figures)
    return {name: [figures.get(name) for figures in blocks] for name in names}


def _figures(records: Launch, steps: np.ndarray, case: Case) -> dict[str, float]:
    total, samples = float(steps.sum()), case.spec.global_batch * len(steps)
    found = {
        "step_time_s": median(steps),
        "time_s": total,
        "throughput_samples_s": samples / total,
        "flops_per_s": case.spec.flops_per_sample() * samples / total,
    }
    if case.spec.tokens_per_sample:
        found["throughput_tokens_s"] = samples * case.spec.tokens_per_sample / total
    told = {metric.name: reduce_ranks(metric, [records]) for metric in FROM_RANKS}
    return found | {name: float(value) for name, value in told.items() if value is not None}


def reduce_ranks(metric: Metric, launches: Sequence[Launch]) -> float | None:
    """A column's figure from what each rank of each launch measured; None where none did.

    Args:
        metric: A column whose ``from_ranks`` says how.
        launches: The ranks' records of each launch that finished.
    """
    each = [[record.figure(metric.name) for record in records] for records in launches]
    told = [found for figures in each
            if (found := [figure for figure in figures if figure is not None])]
    if not told:
        return None
    if metric.from_ranks == "sum":
        return statistics.median(sum(figures) for figures in told)
    together = [figure for figures in told for figure in figures]
    return max(together) if metric.from_ranks == "largest" else statistics.median(together)


def step_summary(steps: np.ndarray) -> dict[str, list[float]]:
    """Of all clean steps in the order they ran, seconds: quantiles, and a bounded sample.

    ``step_quantiles_s`` are at ``QUANTILES``; ``step_sample_s`` holds at most ``SAMPLE_SIZE``
    steps at even distances, so that a page does not grow with the run.
    """
    ordered = np.sort(steps)
    places = np.asarray(QUANTILES) * (len(steps) - 1)
    chosen = np.linspace(0, len(steps) - 1, min(SAMPLE_SIZE, len(steps))).round().astype(int)
    quantiles = np.interp(places, np.arange(len(steps)), ordered)
    return {"step_quantiles_s": quantiles.tolist(), "step_sample_s": steps[chosen].tolist()}
