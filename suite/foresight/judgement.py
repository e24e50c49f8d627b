"""All published tables judged: what was predicted, how well, and which goals are met."""

from __future__ import annotations

from collections.abc import Iterable
from concurrent.futures import ProcessPoolExecutor

from suite.foresight.figures import Figure, Verdict, verdict
from suite.foresight.judging import STEP, judge_stack, judge_transfer
from suite.foresight.layered import judge_pipelines
from suite.foresight.other_tables import judge_links, judge_memory
from suite.foresight.published import Published, steps
from suite.foresight.speedups import judge_data_parallel

SINGLE, MULTI = "vTrain single-node", "vTrain multi-node"
# The mean absolute relative error aimed at, by the start of the source and of the quantity.
GOALS: dict[tuple[str, str], float] = {
    (SINGLE, STEP): 0.08, (MULTI, f"{STEP}, calibrated"): 0.10, (MULTI, STEP): 0.08,
    ("LLM-Foundry MPT", STEP): 0.10, ("torchtitan docs", STEP): 0.10,
    ("torchtitan 2024", STEP): 0.10, ("Megatron-LM SC21 A100", STEP): 0.04,
    ("vTrain all-reduce", "all-reduce"): 0.10, ("torchgpipe speed", "pipeline"): 0.08,
    ("TensorFlow", "data-parallel"): 0.08, ("", "memory"): 0.08,
}


def goal_of(source: str, quantity: str) -> float:
    """The error aimed at; NaN without a goal."""
    found = [goal for (start, what), goal in GOALS.items()
             if source.startswith(start) and quantity.startswith(what)]
    return found[0] if found else float("nan")


def judge_steps(rows: Iterable[Published], workers: int = 1) -> list[Figure]:
    """Steps of transformers, one stack after the other or side by side."""
    rows = list(rows)
    stacks = [[row for row in rows if row.stack == name]
              for name in dict.fromkeys(row.stack for row in rows)]
    if workers == 1:
        return [figure for stack in stacks for figure in judge_stack(stack)]
    with ProcessPoolExecutor(workers) as pool:
        return [figure for part in pool.map(judge_stack, stacks) for figure in part]


def judge_all(workers: int = 1) -> tuple[list[Figure], dict[str, int]]:
    """Every published figure that can be judged, and why the other rows were not."""
    rows, reasons = steps()
    figures = judge_steps(rows, workers)
    figures += judge_transfer(rows, SINGLE, MULTI)
    for judge in (judge_links, judge_data_parallel, judge_pipelines, judge_memory):
        figures += judge()
    return figures, reasons


def verdicts(figures: Iterable[Figure]) -> list[Verdict]:
    """One verdict for each source and quantity, in the order of the figures."""
    groups: dict[tuple[str, str], list[Figure]] = {}
    for figure in figures:
        groups.setdefault((figure.source, figure.quantity), []).append(figure)
    return [verdict(mine, goal_of(*key)) for key, mine in groups.items()]
