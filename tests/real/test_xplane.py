"""Reading a profile: a synthetic one with a truth, and a real one against the stamps' clock."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("tensorflow")
from tensorflow.tsl.profiler.protobuf import xplane_pb2  # noqa: E402 - only where it is installed

from adapters.tensorflow.training import xplane  # noqa: E402
from suite.contract.adapter import CommEvent  # noqa: E402

BEGIN_NS = 1_700_000_000_000_000_000
BEGIN_S = BEGIN_NS / 1e9
DEVICES = {"replica_0/MatMul": 0, "replica_1/MatMul": 1, "call": 0, "stamped_reduction/AddN": 0,
           "hop": 0, "late": 0}
Row = list[tuple[str, float, float]]


def _space(planes: dict[str, list[Row]]) -> Any:
    """Planes of rows of (name, start, end), milliseconds from the profile's start."""
    space = xplane_pb2.XSpace()
    environment = space.planes.add(name="Task Environment")
    environment.stat_metadata[1].name = "profile_start_time"
    environment.stats.add(metadata_id=1, uint64_value=BEGIN_NS)
    for name, rows in planes.items():
        plane = space.planes.add(name=name)
        for row in rows:
            line = plane.lines.add(name="Stream #1", timestamp_ns=1_000_000)
            for label, start, end in row:
                number = len(plane.event_metadata) + 1
                plane.event_metadata[number].name = label
                line.events.add(
                    metadata_id=number, offset_ps=int((start - 1) * 1e9),
                    duration_ps=int((end - start) * 1e9),
                )
    return space


def _clock(
    found: list[xplane.Operation], device: int, end_ms: float = 30, at_once: int = 2
) -> Any:
    clock = xplane.compute_clock(found, device, BEGIN_S, BEGIN_S + end_ms / 1e3, at_once)
    return [(round((at - BEGIN_S) * 1e3, 2), round(busy * 1e3, 2)) for at, busy in clock]


def test_leaves_of_each_device_make_its_clock() -> None:
    space = _space({"/host:CPU": [
        [("call:PartitionedCall", 1, 20), ("ExecutorState::Process", 1, 19),
         ("replica_0/MatMul:MatMul", 2, 6), ("replica_0/MatMul:MatMul", 8, 10)],
        [("replica_1/MatMul:MatMul", 3, 4), ("replica_0/MatMul:MatMul", 5, 7)],
    ]})
    found = xplane.operations(space, DEVICES)
    assert len(found) == 4
    # 2..7, of which 5..6 on two threads at once, and 8..10.
    assert _clock(found, 0)[-1] == (30, 8.0)
    assert _clock(found, 0, at_once=1)[-1] == (30, 7.0)
    assert _clock(found, 1) == [(0, 0), (3, 0), (4, 1.0), (30, 1.0)]


@pytest.mark.parametrize(
    "name", ["hop:_Recv", "hop:_Send", "hop:HorovodAllreduce", "late:PyFuncStateless",
             "hop:Timestamp", "stamped_reduction/AddN:AddN", "hop:CollectiveReduceV2"],
)
def test_communication_and_waiting_do_not_advance_it(name: str) -> None:
    found = xplane.operations(_space({"/host:CPU": [[(name, 1, 9)]]}), DEVICES)
    assert _clock(found, 0) == [(0, 0), (30, 0)]


def test_a_gpu_computes_its_kernels() -> None:
    space = _space({"/device:GPU:1": [
        [("volta_sgemm_128", 2, 5), ("ncclDevKernel_AllReduce_Sum", 5, 9), ("MemcpyD2H", 9, 10)],
    ]})
    found = xplane.operations(space, {}, "cuda")
    assert _clock(found, 1)[-1] == (30, 3.0)
    assert _clock(found, 0)[-1] == (30, 0.0)


def test_what_the_host_does_is_no_work_of_a_gpu() -> None:
    """It waits for the GPUs at a step's end, on no device of the graph's."""
    space = _space({
        "/host:CPU": [[("SyncDevice:SyncDevice", 3, 20), ("call:Greater", 1, 2)]],
        "/device:GPU:0": [[("sgemm", 2, 5)]],
    })
    found = xplane.operations(space, DEVICES, "cuda")
    assert xplane.attributed_share(found) == 1.0 and _clock(found, 0)[-1] == (30, 3.0)


def test_the_share_that_is_attributed() -> None:
    row: Row = [("replica_0/MatMul:MatMul", 1, 4), ("unknown:MatMul", 5, 6)]
    found = xplane.operations(_space({"/host:CPU": [row]}), DEVICES)
    assert xplane.attributed_share(found) == pytest.approx(0.75, abs=1e-3)
    assert xplane.attributed_share([]) == 0.0


def test_a_profile_without_its_start_is_refused() -> None:
    with pytest.raises(RuntimeError, match="when it started"):
        xplane.operations(xplane_pb2.XSpace(), {})


def test_timeline(tmp_path: Path) -> None:
    found = xplane.operations(
        _space({"/host:CPU": [[("replica_1/MatMul:MatMul", 2, 6)]]}), DEVICES
    )
    event = CommEvent("send_recv", 4, BEGIN_S, BEGIN_S + 0.001, 0, "forward.0.1", "recv")
    path = tmp_path / "timeline.json"
    xplane.write_timeline(path, found, [event])
    slices = [e for e in json.loads(path.read_text())["traceEvents"] if e["ph"] == "X"]
    assert [(e["name"], e["pid"]) for e in slices] == [
        ("replica_1/MatMul", 1), ("recv forward.0.1", 0)
    ]
    assert slices[0]["dur"] == pytest.approx(4000, abs=1)


def test_a_real_profile_is_on_the_clock_of_the_stamps() -> None:
    import tensorflow as tf

    @tf.function
    def step(x: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
        before = tf.timestamp()
        with tf.control_dependencies([before]):
            for _ in range(20):
                x = tf.matmul(x, x, name="planted")
        with tf.control_dependencies([x]):
            return x, before, tf.timestamp()

    matrix = tf.eye(512)
    nodes = xplane.node_devices(lambda: step(matrix))
    results: list[Any] = []
    space = xplane.record(lambda: results.append(step(matrix)))
    _, before, after = results[0]
    found = [o for o in xplane.operations(space, nodes) if o.name.startswith("planted")]
    assert len(found) == 20
    assert {o.device for o in found} == {0}
    assert float(before) - 5e-4 < min(o.start_s for o in found)
    assert max(o.end_s for o in found) < float(after) + 5e-4
    assert sum(o.end_s - o.start_s for o in found) > 0.5 * float(after - before)
