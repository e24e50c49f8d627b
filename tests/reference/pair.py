"""One rank of a comparison: the adapter's session and the plain script's step take turns.

    python -m tests.reference.pair CASE_JSON INPUTS_NPZ FOLDER RANK PROCESSES CORES

Both live in one process (group), so the machine's moods meet both alike. Blocks of steps go
adapter, plain, plain, adapter; the first step of a block finds the other side's data in the caches
and is not counted. Every rank does the same blocks, in lockstep through their collectives. A side
warms up, and both take turns, for no longer than PAIR_SECONDS allows, which the ranks agree on.
"""

from __future__ import annotations

import importlib
import json
import os
import time
from collections.abc import Callable

from suite.contract.adapter import Session
from suite.contract.case import Case
from suite.contract.files import write_atomically
from suite.contract.workloads import initial_weights
from suite.ranks.entry import arrive, leave
from suite.ranks.train import load_inputs

WARMUP, COUNTED, BUDGET_S = 10, 4, 25.0
# Steps that are longer than this need no four of a kind to have a median.
LONG_STEP_S, FEWER = 0.15, 2
LEAST_WARMUP, WARMUP_SHARE = 3, 0.1
# Six pairs of blocks: with fewer there is no 95 % interval of a median.
LEAST_ROUNDS = 3
ROUND = ("adapter", "plain", "plain", "adapter")
Step = Callable[[], object]


def main() -> None:
    case, inputs_path, rank = arrive()
    module = importlib.import_module(f"adapters.{case.framework}.session")
    weights = initial_weights(case.spec, case.seed)
    session = module.open_session(case, rank, weights, load_inputs(inputs_path, case))
    try:
        blocks = alternate(case, adapter_step(session), plain_step(case), session.agree)
    finally:
        session.close()
    record = {"rank": rank.index, "blocks": blocks}
    write_atomically(rank.folder / f"rank-{rank.index}.json", json.dumps(record))
    leave()


def script_name(case: Case) -> str:
    """``horovod_torch_data``: the plain script of a cell."""
    engine = f"_{case.engine}" if case.framework == "horovod" else ""
    return f"{case.framework}{engine}_{case.strategy}"


def alternate(
    case: Case, adapter: Step, plain: Step, agree: Callable[[bool], bool]
) -> list[list[float]]:
    """Seconds of the counted steps of each block, in the order of ``ROUND`` again and again.

    Ends after ``case.steps`` steps a side, or when the ranks agree that the time is spent, but not
    before there is an interval.
    """
    sides = {"adapter": adapter, "plain": plain}
    budget = float(os.environ.get("PAIR_SECONDS", BUDGET_S))
    short = [_warmed(step, agree, WARMUP_SHARE * budget) for step in sides.values()]
    counted = COUNTED if agree(max(short) < LONG_STEP_S) else FEWER
    rounds = -(-case.steps // (2 * COUNTED))
    blocks: list[list[float]] = []
    began = time.monotonic()
    for number in range(rounds):
        if number >= LEAST_ROUNDS and not agree(time.monotonic() - began < budget):
            break
        blocks += [_block(sides[name], counted) for name in ROUND]
    return blocks


def _warmed(step: Step, agree: Callable[[bool], bool], seconds: float) -> float:
    """Warms a side up; returns how long its last step took.

    A few steps at least, ``WARMUP`` at most, and between that as many as fit into ``seconds``.
    """
    began, found = time.monotonic(), 0.0
    for number in range(WARMUP):
        if number >= LEAST_WARMUP and not agree(time.monotonic() - began < seconds):
            break
        start = time.perf_counter()
        step()
        found = time.perf_counter() - start
    return found


def _block(step: Step, counted: int) -> list[float]:
    step()
    seconds = []
    for _ in range(counted):
        began = time.perf_counter()
        step()
        seconds.append(time.perf_counter() - began)
    return seconds


def adapter_step(session: Session) -> Step:
    def step() -> object:
        loss = session.step(0)
        session.synchronize()
        return loss

    return step


def plain_step(case: Case) -> Step:
    """Of the cell's script, which expects the devices and the group to be there."""
    module = importlib.import_module(f"tests.reference.{script_name(case)}")
    step: Step = module.build(case.workload)
    return step


if __name__ == "__main__":
    main()
