"""One rank of a calibration: single operations and collectives, timed as a step makes them.

    python -m suite.ranks.operations CASE_JSON PLAN_JSON FOLDER RANK PROCESSES CORES
"""

from __future__ import annotations

import gc
import importlib
import json
import os
import threading
import time
from collections.abc import Callable, Iterator
from math import prod
from typing import Any

import numpy as np
import psutil

from suite.contract.case import Rank
from suite.contract.files import write_atomically
from suite.contract.operations import (
    PRODUCTS,
    Operation,
    OperationPlan,
    Operations,
    collectives_of_calibration,
    product_repeats,
)
from suite.contract.plugins import adapter_package
from suite.contract.registry import traits_of
from suite.contract.sweep import COLLECTIVES, Call, LinkSession, Sweep
from suite.ranks.entry import arrive, last_words, leave, swift_start
from suite.ranks.sweep import sweep_samples

WARM_UP, FEWEST, MOST = 2, 3, 200
REPETITIONS = 12
OPERATION_ROUNDS, ROUNDS = 3, 5
Clock = Callable[[], float]


def main() -> None:
    """Entry point of the process."""
    case, plan_path, rank = arrive()
    with last_words(rank):
        package = adapter_package(case.framework)
        with swift_start():
            link: LinkSession = importlib.import_module(f"{package}.link").open_link(case, rank)
            module = importlib.import_module(f"{package}.operations")
        operations: Operations = module.open_operations(case, rank)
        unswept = traits_of(case.framework).unswept
        offered = [name for name in COLLECTIVES if name not in unswept]
        record = calibrate(link, operations, OperationPlan.read(plan_path), offered, rank)
        link.close()
        write_atomically(rank.folder / f"rank-{rank.index}.json", json.dumps(record))
    leave()


def calibrate(
    link: LinkSession, operations: Operations, plan: OperationPlan, offered: list[str],
    rank: Rank, clock: Clock = time.perf_counter,
) -> dict[str, Any]:
    """Runs everything of the plan, all ranks at the same time.

    Args:
        link: Session of the transport.
        operations: Operations of the framework.
        plan: What to run.
        offered: Collectives that the transport has.
        rank: Which rank this is.
        clock: Seconds; tests replace it.

    Returns:
        The record of this rank: seconds of each operation, and samples of the collectives.
    """
    names = collectives_of_calibration(offered)
    record: dict[str, Any] = {
        "rank": rank.index, "backend": link.backend, "transport": link.transport,
        "participants": {name: link.participants(name) for name in names},
    }
    # One at a time, so that the process then holds what they left and none of their inputs.
    first = [timed(operation, link, plan.seconds, clock) / count
             for _, _, operation, count in listed(operations, plan)]
    gc.collect()
    # Pages of libraries and workspaces come with the first operations.
    record["resident_bytes"] = psutil.Process(os.getpid()).memory_info().rss
    record["operations"] = _timed_again(link, operations, plan, clock, first)
    gc.collect()
    sizes = {name: list(plan.link_bytes) for name in names}
    sweep = Sweep(sizes, REPETITIONS, plan.seconds * 8 * len(names), load_s=plan.load_s)
    record["samples"] = sweep_samples(link, sweep, rank, clock)
    record["contention"], slowdown = contention(link, operations, plan, clock)
    # What waits for a thread of its own process is not in flight yet, so it is no slower call.
    record["call_slowdown"] = slowdown if rank.processes > 1 else 1.0
    return record


def _timed_again(
    link: LinkSession, operations: Operations, plan: OperationPlan, clock: Clock,
    first: list[float],
) -> list[dict[str, Any]]:
    """Kind, size and seconds of each operation: medians of the first and of more rounds over all.

    A core's speed changes within seconds, and rounds meet it at several times.
    """
    every = list(listed(operations, plan))
    rounds = [first, *(
        [timed(operation, link, plan.seconds, clock) / count for _, _, operation, count in every]
        for _ in range(OPERATION_ROUNDS - 1)
    )]
    return [{"kind": kind, "size": size, "seconds": float(one)}
            for (kind, size, _, _), one in zip(every, np.median(rounds, axis=0), strict=True)]


def listed(
    operations: Operations, plan: OperationPlan
) -> Iterator[tuple[str, list[int], Operation, int]]:
    """(kind, size, operation, how many of the kind it makes) of everything that is timed."""
    for lengths in plan.products:
        repeats = product_repeats(lengths)
        operation = operations.product(lengths, repeats)
        yield "product", list(lengths), operation, PRODUCTS * repeats
    yield "stream", [plan.stream_elements], operations.stream(plan.stream_elements), 1
    yield "attention", list(plan.attention), operations.attention(plan.attention), 1
    elements = plan.activation_elements
    yield "activation", [elements], operations.activation(elements), 1
    yield "norm", list(plan.norm), operations.norm(*plan.norm), 1
    yield "layers", list(plan.layers), operations.layers(*plan.layers), 1
    for parameters in plan.updates:
        yield "update", [parameters], operations.update(parameters), 1


def timed(operation: Operation, link: LinkSession, seconds: float, clock: Clock) -> float:
    """Seconds of an operation; all ranks begin together and repeat equally long.

    The lower quartile: what disturbs an operation only adds to it, and the fastest call may have
    found everything in caches.
    """
    for _ in range(WARM_UP):
        operation()
    link.barrier()
    found: list[float] = []
    began = clock()
    while len(found) < FEWEST or (len(found) < MOST and clock() - began < seconds):
        start = clock()
        operation()
        found.append(clock() - start)
    return float(np.quantile(found, 0.25))


def contention(
    link: LinkSession, operations: Operations, plan: OperationPlan, clock: Clock
) -> tuple[float, float]:
    """How compute and all-reduces slow each other down while a second thread calls them.

    The calls' number is fixed, so that every rank makes as many; of the product that runs when the
    last call ends, the part until then counts. The median of several rounds, each with its own
    quiet half, because another program may take the core in one of them.

    Returns:
        One and the share of compute that is lost: 1 if products go on at their own pace, 2 if they
        stand still, so that a second of communication costs a second of compute. And how many times
        as long a call takes as with nothing beside it.
    """
    call = link.prepare("all_reduce", max(plan.link_bytes))
    # The largest, in which a thread that waits for the core waits as long as in a step.
    operation = operations.product(max(plan.products, key=prod), 1)
    found = [
        _beside(call, operation, timed(operation, link, plan.seconds / ROUNDS, clock), link, clock)
        for _ in range(ROUNDS)
    ]
    lost, longer = np.median(found, axis=0)
    return 1.0 + float(lost), float(longer)


def _beside(
    call: Call, operation: Operation, alone_s: float, link: LinkSession, clock: Clock
) -> tuple[float, float]:
    """(share of compute that is lost, times as long a call takes) of calls beside products."""
    calls_end: list[float] = []

    def communicate() -> None:
        for _ in range(REPETITIONS):
            call()
        calls_end.append(clock())

    link.barrier()
    began = clock()
    communicate()
    quiet_s = calls_end.pop() - began
    link.barrier()
    thread = threading.Thread(target=communicate)
    thread.start()
    began = clock()
    products_end = [began]
    while len(products_end) == 1 or thread.is_alive():
        operation()
        products_end.append(clock())
    thread.join()
    busy_s = calls_end[0] - began
    count = float(np.interp(calls_end[0], products_end, range(len(products_end))))
    return max(0.0, 1.0 - alone_s * count / busy_s), max(1.0, busy_s / quiet_s)


if __name__ == "__main__":
    main()
