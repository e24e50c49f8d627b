"""Step time of each adapter over that of a plain script, and how far launches differ.

    python -m tests.reference [ROUNDS] [NAME_PART] [LAUNCHES] [--workload gpt]

A cell is a few launches under the adapter's own plan, in each of which both sides take turns
(``pair.py``) for ROUNDS rounds, or until its time is spent. A step is as long as its slowest rank.
Each block of the adapter has a block of the plain script beside it; a launch's ratio is the median
over these pairs of the ratio of their medians. Launches are the replicates: of one graph the ratio
moved by 2.5 % from process to process. The cell's ratio is the median over launches, with the
launches' extremes; of one launch, the distribution-free 95 % interval over its pairs (order
statistics, Hoefler & Belli 2015, rule 5).
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from scipy import stats

from suite.contract.case import Case
from suite.contract.registry import engines, traits_of
from suite.contract.splits.strategies import STRATEGIES, VARIANTS
from suite.contract.workloads import DEFAULT_SIZES
from suite.machine.software import installed_version
from tests.conftest import launch_case
from tests.reference.pair import COUNTED, script_name

ROUNDS, LAUNCHES = 8, 5
SIZES = DEFAULT_SIZES  # the scripts are written for these


@dataclass(frozen=True)
class Comparison:
    """Median step of each side in seconds; their ratio, and the interval it was found in."""

    adapter_s: float
    plain_s: float
    ratio: float
    low: float
    high: float


def main() -> None:
    asked = arguments()
    heading = f"{asked.workload} {SIZES[asked.workload]}"
    print(f"{heading:34}{'adapter':>10}{'plain':>10}{'ratio':>8}   low to high", flush=True)
    for case in cases(asked.rounds, asked.workload):
        if asked.name_part not in script_name(case):
            continue
        try:
            found = measure(case, asked.launches)
        except RuntimeError as error:
            raise SystemExit(str(error)) from error
        print(f"{script_name(case):34}{found.adapter_s * 1e3:8.2f}ms{found.plain_s * 1e3:8.2f}ms"
              f"{found.ratio:8.3f}   {found.low:.3f} to {found.high:.3f}", flush=True)


def arguments(words: Sequence[str] | None = None) -> argparse.Namespace:
    """Of the command line, unless ``words`` are given."""
    parser = argparse.ArgumentParser(prog="python -m tests.reference")
    parser.add_argument("rounds", nargs="?", type=int, default=ROUNDS)
    parser.add_argument("name_part", nargs="?", default="", help="of the cells to compare")
    parser.add_argument("launches", nargs="?", type=int, default=LAUNCHES)
    parser.add_argument("--workload", choices=list(SIZES), default="mlp")
    return parser.parse_args(words)


def cases(count: int, workload: str = "mlp") -> list[Case]:
    """Every cell that can run here, with ``count`` rounds."""
    return [
        Case(
            framework, engine, strategy, VARIANTS[strategy][0], workload, SIZES[workload], "real",
            "cpu", 1 if strategy == "single" else 2, steps=2 * COUNTED * count,
        )
        for framework, offered in engines().items()
        if installed_version(traits_of(framework).distributions)
        for engine in offered
        for strategy in STRATEGIES
    ]


def measure(case: Case, launches: int) -> Comparison:
    """Launches both sides together, again and again."""
    return summarise([launch_pair(case) for _ in range(launches)])


def summarise(found: Sequence[Comparison]) -> Comparison:
    """Medians over launches, and their extremes; a lone launch as it is."""
    if len(found) == 1:
        return found[0]
    middle = [float(np.median([getattr(one, name) for one in found]))
              for name in ("adapter_s", "plain_s", "ratio")]
    ratios = [one.ratio for one in found]
    return Comparison(*middle, min(ratios), max(ratios))


def launch_pair(case: Case, timeout_s: float = 120.0) -> Comparison:
    """Both sides once, in a group of processes of their own.

    Raises:
        RuntimeError: One of them failed or took too long.
    """
    with tempfile.TemporaryDirectory() as folder:
        outcome = launch_case(case, Path(folder) / "pair", timeout_s, "tests.reference.pair")
    if outcome.status != "ok":
        raise RuntimeError(f"{script_name(case)}: {outcome.status}, {outcome.reason}")
    return compare(np.array([record["blocks"] for record in outcome.records]))


def compare(seconds: np.ndarray) -> Comparison:
    """From (ranks, blocks, steps) in the order adapter, plain, plain, adapter, adapter, …"""
    blocks = np.median(seconds.max(axis=0), axis=1).reshape(-1, 4)
    adapter, plain = blocks[:, (0, 3)].ravel(), blocks[:, (1, 2)].ravel()
    ratios = adapter / plain
    interval = stats.quantile_test(ratios, p=0.5).confidence_interval(0.95)
    middle = [float(np.median(each)) for each in (adapter, plain, ratios)]
    return Comparison(*middle, float(interval.low), float(interval.high))


if __name__ == "__main__":
    main()
