"""Horovod's timeline: rows of fused tensors are one operation, and the end may be missing."""

from __future__ import annotations

import json
from typing import Any

from adapters.horovod.training.timeline import fused_operations, read_parts, stages


def _tensor(pid: int, start: int, end: int, shape: str) -> list[dict[str, Any]]:
    return [
        {"ph": "B", "name": "NEGOTIATE_ALLREDUCE", "ts": start - 9, "pid": pid},
        {"ph": "E", "ts": start - 5, "pid": pid},
        {"ph": "B", "name": "ALLREDUCE", "ts": start - 4, "pid": pid},
        {"ph": "B", "name": "MEMCPY_IN_FUSION_BUFFER", "ts": start - 3, "pid": pid},
        {"ph": "E", "ts": start - 1, "pid": pid},
        {"ph": "B", "name": "GLOO_ALLREDUCE", "ts": start, "pid": pid},
        {"ph": "E", "ts": end, "pid": pid},
        {"ph": "E", "ts": end + 2, "pid": pid, "args": {"dtype": "float32", "shape": shape}},
    ]


EVENTS = [
    {"name": "process_name", "ph": "M", "pid": 0,
     "args": {"start_time_since_epoch_in_micros": 1_000_000}},
    *_tensor(1, 100, 300, "[10]"), *_tensor(2, 101, 300, "[10, 30]"), *_tensor(3, 400, 450, "[1]"),
]


def test_fused_tensors_are_one_operation() -> None:
    found = fused_operations(read_parts(json.dumps(EVENTS)))
    assert [(e.kind, e.payload_bytes, e.key) for e in found] == [
        ("all_reduce", 4 * (10 + 300), "fused#0"), ("all_reduce", 4, "fused#1"),
    ]
    assert (found[0].start_s, found[0].end_s) == (1.0001, 1.0003)


def test_an_unterminated_file_is_read() -> None:
    text = json.dumps(EVENTS)[:-1] + ",\n"
    assert len(fused_operations(read_parts(text))) == 2 and read_parts("") == []


def test_stages_tell_the_collective_from_the_copies_around_it() -> None:
    told = stages(read_parts(json.dumps(EVENTS), clock_offset_s=-1.0))
    seconds = [(name, round(1e6 * start), round(1e6 * end)) for name, start, end in told]
    assert seconds == [
        ("carried", 100, 300), ("carried", 101, 300), ("carried", 400, 450),
        ("handled", 96, 302), ("handled", 97, 302), ("handled", 396, 452),
    ]
