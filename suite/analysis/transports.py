"""Which transport a case's tensors took: what its library says, and what the counters saw."""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Sequence
from typing import Any

from suite.contract.formats import size_bytes
from suite.contract.nccl import transports
from suite.contract.records import Launch

# Backends, as ledgers write them in lower case, that have one transport alone.
ONLY = {
    "gloo": "TCP", "grpc ring": "TCP", "grpc": "TCP", "in-process": "memory of one process",
}


def transport_columns(launches: Sequence[Launch], steps: int) -> dict[str, Any]:
    """Returns the columns that say how the tensors of a case travelled.

    Args:
        launches: Records of the launches that finished.
        steps: Clean steps of each launch, during which the counters were read.
    """
    records = [record for records in launches for record in records]
    words = sorted({word for record in records for word in record.transports})
    backends = dict.fromkeys(record.ledger.get("backend", "").lower() for record in records)
    named = transports(words) or [ONLY[name] for name in backends if name in ONLY]
    counted = _received(launches, steps)
    return {
        "transport_used": ", ".join(named), "transport_words": ", ".join(words),
        "network_bytes": ", ".join(f"{name} {size_bytes(count)}" for name, count in
                                   counted.items()),
        "ip_bytes": _total(count for name, count in counted.items() if "/" not in name),
        "rdma_bytes": _total(count for name, count in counted.items() if "/" in name),
    }


def _received(launches: Sequence[Launch], steps: int) -> dict[str, float]:
    """Bytes by interface or port in a step: of the host that received most, median over launches.

    All ranks of a host read the same counters at nearly the same times; the largest is taken.
    """
    each: dict[str, list[float]] = {}
    for records in launches:
        most: dict[str, int] = {}
        for record in records:
            for name, count in record.received_bytes.items():
                most[name] = max(count, most.get(name, 0))
        for name, count in most.items():
            each.setdefault(name, []).append(count / max(1, steps))
    return {name: statistics.median(counts) for name, counts in sorted(each.items())}


def _total(counts: Iterable[float]) -> float | None:
    found = list(counts)
    return sum(found) if found else None
