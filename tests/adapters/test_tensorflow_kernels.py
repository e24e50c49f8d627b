"""What GPUs said to each other, read from TensorFlow's profile: planted profiles with a truth.

No GPU made them. They are built as the source of TensorFlow's profiler writes them: a plane
``/device:GPU:n`` for each device with a line for each stream, kernels of NCCL by their symbols, and
copies as ``MemcpyP2P`` on the plane of the sender, with a stat ``memcpy_details`` that refers to a
text ``kind_src:device kind_dst:device size:… dest:… async:1``. Times are milliseconds.
"""

from __future__ import annotations

from typing import Any

import pytest

pytest.importorskip("tensorflow")
from tensorflow.tsl.profiler.protobuf import xplane_pb2  # noqa: E402

from adapters.tensorflow.training import xplane  # noqa: E402
from adapters.tensorflow.training.kernels import (  # noqa: E402
    UNEVEN,
    UNNAMED,
    UNSEEN,
    gpu_communications,
)
from adapters.tensorflow.training.single import Training  # noqa: E402
from suite.analysis.communication import communication  # noqa: E402
from suite.contract.case import Case  # noqa: E402
from suite.contract.records import RankRecord, StepTrace  # noqa: E402
from suite.contract.splits.volumes import logical_communications  # noqa: E402

BEGIN_NS = 1_700_000_000_000_000_000
BEGIN_S = BEGIN_NS / 1e9
REDUCE = "ncclDevKernel_AllReduce_Sum_f32_RING_LL(ncclDevKernelArgsStorage<4096ul>)"
BEFORE_2_19 = "ncclKernel_AllReduce_RING_LL_Sum_float(ncclWorkElem)"
# (name, start, end, and where to and how many bytes of a copy)
Event = tuple[str, float, float] | tuple[str, float, float, int, int]


def _space(devices: dict[int, list[list[Event]]]) -> Any:
    """Devices of streams of events."""
    space = xplane_pb2.XSpace()
    environment = space.planes.add(name="Task Environment")
    environment.stat_metadata[1].name = "profile_start_time"
    environment.stats.add(metadata_id=1, uint64_value=BEGIN_NS)
    space.planes.add(name="/host:CPU").lines.add(name="python")
    for device, streams in devices.items():
        plane = space.planes.add(name=f"/device:GPU:{device}")
        plane.stat_metadata[1].name = "memcpy_details"
        for number, events in enumerate(streams):
            line = plane.lines.add(name=f"Stream #{13 + number}(Compute)", timestamp_ns=0)
            for event in events:
                _add(plane, line, *event)
        plane.lines.add(name="XLA Ops").events.add(metadata_id=1, duration_ps=10**12)
    return space


def _add(
    plane: Any, line: Any, name: str, start: float, end: float, dest: int = -1, size: int = 0
) -> None:
    number = len(plane.event_metadata) + 1
    plane.event_metadata[number].name = name
    event = line.events.add(metadata_id=number, offset_ps=int(start * 1e9),
                            duration_ps=int((end - start) * 1e9))
    if dest >= 0:
        text = len(plane.stat_metadata) + 1
        plane.stat_metadata[text].name = (
            f"kind_src:device kind_dst:device size:{size} dest:{dest} async:1"
        )
        event.stats.add(metadata_id=1, ref_value=text)


def _case(strategy: str, variant: str = "", framework: str = "tensorflow", **more: Any) -> Case:
    return Case(framework, "tensorflow", strategy, variant, "mlp", "wide", "real", "cuda",
                **{"devices": 2} | more)


def _found(case: Case, devices: dict[int, list[list[Event]]]) -> tuple[list[Any], str]:
    executed = xplane.operations(_space(devices), {}, "cuda")
    return gpu_communications(executed, case, BEGIN_S)


def _columns(events: list[Any]) -> dict[str, float]:
    """The columns of a launch of one process, whose one step has these events; milliseconds."""
    record = RankRecord(rank=0, traces=[StepTrace(events)])
    return {name: round(value * 1e3, 3) if name.endswith("_s") else value
            for name, value in communication([record]).items()}


@pytest.mark.parametrize("kernel", [REDUCE, BEFORE_2_19, "ncclDevKernel_Generic(x)"])
def test_waiting_and_transfer_of_nccl(kernel: str) -> None:
    """The second device arrives 4 ms later; both have the result at 9, of a second one at 14."""
    case = _case("data")
    events, missing = _found(case, {
        0: [[("sgemm", 0, 2)], [(kernel, 2, 9), (kernel, 12, 14)]],
        1: [[("sgemm", 0, 6)], [(kernel, 6, 9), (kernel, 12, 14)]],
    })
    assert missing == "" and {event.role for event in events} == {"member"}
    columns = _columns(events)
    assert columns["t_comm_s"] == columns["t_comm_all_reduce_s"] == (9 + 5) / 2
    assert (columns["t_comm_wait_s"], columns["t_comm_transfer_s"]) == (2, 5)
    total = sum(size for _, size in logical_communications(case))
    assert columns["comm_count"] == 2 and columns["comm_bytes"] == total / 2


def test_bytes_are_those_of_the_plan_whatever_the_number_of_kernels() -> None:
    case = _case("data")
    events, _ = _found(case, {
        device: [[(REDUCE, 3.0 * n, 3.0 * n + 1) for n in range(7)]] for device in (0, 1)
    })
    total = sum(size for _, size in logical_communications(case))
    for device in (0, 1):
        sizes = [event.payload_bytes for event in events if event.device == device]
        assert sum(sizes) == total and max(sizes) - min(sizes) <= 1


def test_a_hop_waits_from_the_end_of_the_receivers_own_work() -> None:
    """Sent at 5, there at 8; the receiver computed until 3, so 2 of its 5 ms are waiting."""
    events, missing = _found(_case("inter_layer", "gpipe"), {
        0: [[("sgemm", 0, 5)], [("MemcpyP2P", 5, 8, 1, 4096)]],
        1: [[("sgemm", 1, 3), ("sgemm", 8, 10)], [("MemcpyP2P", 10, 11, 0, 2048)]],
    })
    assert missing == ""
    forward = [(e.role, e.device, e.payload_bytes, round((e.start_s - BEGIN_S) * 1e3, 3))
               for e in events if e.key == "copy#0"]
    assert forward == [("send", 0, 4096, 5.0), ("recv", 1, 4096, 3.0)]
    columns = _columns(events)
    # Device 1 waits 3..5 and receives 5..8; device 0 waits 5..10 and receives 10..11.
    assert (columns["t_comm_wait_s"], columns["t_comm_transfer_s"]) == (3.5, 2)
    assert (columns["comm_count"], columns["comm_bytes"]) == (2, 3072)


def test_what_arrives_while_its_receiver_computes_takes_no_time() -> None:
    events, _ = _found(_case("intra_layer"), {
        0: [[("sgemm", 0, 2)], [("MemcpyP2P", 2, 4, 1, 4096)]], 1: [[("sgemm", 0, 9)]],
    })
    assert _columns(events)["t_comm_s"] == 0 and len(events) == 2


def test_copies_of_one_device_and_of_the_host_are_none() -> None:
    events, missing = _found(_case("intra_layer"), {
        0: [[("MemcpyD2D", 2, 4, 0, 64), ("MemcpyH2D", 5, 6, 0, 64), ("MemcpyD2H", 7, 8, 0, 4)]],
        1: [[("sgemm", 0, 9)]],
    })
    assert (events, missing) == ([], UNSEEN)


@pytest.mark.parametrize(("case", "devices", "missing"), [
    (_case("data"), {0: [[("sgemm", 0, 1)]], 1: [[("sgemm", 0, 1)]]}, UNSEEN),
    (_case("data"), {0: [[(REDUCE, 0, 1)]], 1: [[(REDUCE, 0, 1), (REDUCE, 2, 3)]]}, UNEVEN),
    (_case("inter_layer", "gpipe", "horovod"), {0: [[(REDUCE, 0, 1)]]}, UNNAMED),
    (_case("single", devices=1), {0: [[("sgemm", 0, 1)]]}, ""),
])
def test_no_event_has_a_reason(
    case: Case, devices: dict[int, list[list[Event]]], missing: str
) -> None:
    assert _found(case, devices) == ([], missing)


def test_processes_of_one_device_each_meet_in_their_kernels() -> None:
    """Each worker of MultiWorkerMirroredStrategy sees its own GPU alone, as number 0."""
    case = _case("data", "multi_worker")
    records = []
    for rank, arrives in enumerate((2, 6)):
        events, _ = _found(case, {0: [[("sgemm", 0, arrives)], [(REDUCE, arrives, 9)]]})
        records.append(RankRecord(rank=rank, traces=[StepTrace(events)]))
    columns = communication(records)
    assert round(columns["t_comm_wait_s"] * 1e3, 3) == 2 and columns["comm_count"] == 1
    assert columns["comm_bytes"] == sum(size for _, size in logical_communications(case))


def test_a_step_on_gpus_is_read_from_its_profile(monkeypatch: pytest.MonkeyPatch) -> None:
    """The pass with probes has events and clocks, and its graph has no stamp."""
    session = object.__new__(Training)
    session.case, session.devices = _case("data"), ["/GPU:0", "/GPU:1"]
    monkeypatch.setattr(session, "_stamped", lambda index: (None, {}))
    monkeypatch.setattr(session, "run", lambda graph, index: None)
    moments = iter([BEGIN_S, BEGIN_S + 0.02])
    monkeypatch.setattr("adapters.tensorflow.training.single.time.time", lambda: next(moments))
    space = _space({device: [[("sgemm", 0, 6)], [(REDUCE, 6, 9)]] for device in (0, 1)})
    monkeypatch.setattr(xplane, "record", lambda step: (step(), space)[1])
    trace = session.timed_step(0)
    assert len(trace.events) == 2 and trace.missing == "" and len(trace.busy) == 2
    assert [round(clock[-1][1], 6) for clock in trace.busy] == [0.006, 0.006]
    assert trace.seconds == pytest.approx(0.02)
