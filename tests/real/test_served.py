"""TensorFlow's manual placement over two hosts, which are both this machine: rank 0 drives all.

``test_two_hosts.py`` does the same between hosts with clocks and addresses of their own.
"""

from __future__ import annotations

import json
import os
import signal
import threading
import time
from pathlib import Path

import psutil
import pytest

from suite.analysis.parity import check
from suite.analysis.traced import reduce_launch
from suite.contract.case import PARITY_STEPS, Case
from suite.contract.records import RankRecord, read_clean, read_records
from suite.contract.registry import traits_of
from suite.contract.splits.volumes import logical_communications
from suite.contract.sweep import Sweep
from suite.contract.workloads import initial_weights
from suite.machine.software import installed_version
from suite.measure.links import Plan, link_case, measure
from suite.measure.proofs import load_evidence
from tests.conftest import References
from tests.followers import fleet_of_two, gone, launch_on, second_host

pytestmark = pytest.mark.skipif(
    not installed_version(traits_of("tensorflow").distributions),
    reason="tensorflow is not installed")
LONG = pytest.mark.long


def _case(strategy: str, workload: str, devices: int = 2, **more: object) -> Case:
    variant = "gpipe" if "inter_layer" in strategy else ""
    mesh = f"data=2,{strategy.removeprefix('data+')}=2" if "data+" in strategy else ""
    return Case("tensorflow", "tensorflow", strategy, variant, workload, "tiny", "real", "cpu",
                devices, mesh=mesh, hosts=2, warmup_limit=PARITY_STEPS,
                **{"steps": 2, "probe_steps": 2} | more)  # type: ignore[arg-type]


@pytest.mark.parametrize(("strategy", "workload", "devices"), [
    ("intra_layer", "mlp", 2),
    pytest.param("intra_layer", "gpt", 2, marks=LONG),
    pytest.param("inter_layer", "gpt", 2, marks=LONG),  # a tied table travels both ways
    pytest.param("intra_layer", "resnet", 2, marks=LONG),
    pytest.param("inter_layer", "resnet", 2, marks=LONG),
    pytest.param("data+intra_layer", "gpt", 4, marks=LONG),
    pytest.param("data+inter_layer", "gpt", 4, marks=LONG),
])
def test_rank_0_places_on_all_hosts_at_parity(
    strategy: str, workload: str, devices: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    reference: References,
) -> None:
    case = _case(strategy, workload, devices, timeline=True)
    folder = tmp_path / "launch"
    with fleet_of_two(tmp_path, monkeypatch, slots=devices // 2) as fleet, second_host():
        outcome = launch_on(fleet, case, folder, 120.0)
    assert outcome.status == "ok", outcome.reason
    found = load_evidence(folder, json.loads((folder / "rank-0.json").read_text())["losses"])
    verdict = check(found, reference(case), initial_weights(case.spec, case.seed))
    assert verdict.status == "ok", verdict
    records = read_records(outcome.records)
    assert [record.rank for record in records] == list(range(devices))
    _holds_what_each_device_did(case, records)
    for record in records:
        assert (folder / f"timeline-{record.rank}.json").stat().st_size > 1000
    # What all ranks, on both hosts, have kept before the passes with probes.
    kept = read_records(read_clean(folder, devices))
    assert [one.rank for one in kept] == list(range(devices))
    for one, record in zip(kept, records, strict=True):
        assert one.step_seconds == record.step_seconds and not one.profiles
        assert one.host == record.host and one.received_bytes == record.received_bytes


def _holds_what_each_device_did(case: Case, records: list[RankRecord]) -> None:
    """Every rank has its own device's transfers, busy time and memory, whoever drives it."""
    wanted = sorted(size for _, size in logical_communications(case))
    for name in ("traces", "profiles"):
        last = [getattr(record, name)[-1] for record in records]
        arrived = {event.key: event.payload_bytes for trace in last for event in trace.events
                   if event.role != "send"}
        assert sorted(arrived.values()) == wanted
        assert all(event.device == 0 for trace in last for event in trace.events)
    for record in records:
        assert len(record.profiles) == 3 and record.peak_memory_bytes > 100 << 20
        assert record.step_seconds == records[0].step_seconds
        assert record.ledger["backend"] == "gRPC" and record.ledger["threads_per_device"] == "1"
    reduced = reduce_launch(case, records)
    assert reduced is not None and reduced.busy.shape == (3, case.devices)
    assert (reduced.busy > 0).all(), reduced.busy
    step = reduced.columns["clocked_step_s"]
    assert (reduced.busy.sum(axis=1) < step * case.devices).all()
    assert 0 < reduced.columns["t_comm_s"] <= step
    assert 1.0 <= reduced.columns["load_balance"] < case.devices


@pytest.mark.long
def test_a_tensor_goes_to_the_other_process_and_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Rank 0 alone has samples; 4 MiB take longer than nothing to send and receive twice."""
    case = link_case("tensorflow", "tensorflow", "cpu", 2, hosts=2)
    sizes = [4, 4 << 20]
    plan = Plan(case, Sweep({"send_recv": sizes}, repetitions=8, seconds=5.0))
    with fleet_of_two(tmp_path, monkeypatch) as fleet, second_host():
        samples, outcome = measure(plan, tmp_path, 60.0, launcher=fleet)
    assert outcome.status == "ok", outcome.reason
    assert {sample["rank"] for sample in samples} == {0}
    small, large = (min(s["end_s"] - s["start_s"] for s in samples if s["bytes"] == size)
                    for size in sizes)
    # A round trip of gRPC is no 50 us on loopback, and a byte is copied and sent more than once.
    assert small > 25e-6 and large > small + 4e-4, (small, large)
    assert {(s["backend"], s["devices"], s["hosts"]) for s in samples} == {("gRPC", 2, 2)}


@pytest.mark.long
@pytest.mark.parametrize("victim", [0, 1])
def test_a_rank_that_is_killed_ends_the_others(
    victim: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither a server without rank 0 is left, nor does rank 0 wait for a server."""
    case = _case("inter_layer", "mlp", steps=200_000)
    folder = tmp_path / "launch"
    killed: list[float] = []

    def kill() -> None:
        phase, pid = folder / f"phase-{victim}", None
        while pid is None and threading.main_thread().is_alive():
            time.sleep(0.1)
            if phase.exists() and phase.read_text() == "clean steps":
                pid = _rank(victim)
        os.kill(int(pid or 0), signal.SIGKILL)
        killed.append(time.monotonic())

    with fleet_of_two(tmp_path, monkeypatch) as fleet, second_host():
        threading.Thread(target=kill, daemon=True).start()
        outcome = launch_on(fleet, case, folder, 120.0)
        seconds = time.monotonic() - killed[0]
        assert outcome.status == "failed", outcome
        assert f"rank {victim} in clean steps ended with signal SIGKILL" in outcome.reason
        assert seconds < 10 and gone(1.0), seconds
    print(f"rank {victim} killed: the case had ended {seconds:.1f} s later")


def _rank(number: int) -> int | None:
    for process in psutil.process_iter(["cmdline"]):
        words = process.info["cmdline"] or []
        ours = "suite.ranks.train" in words and "suite-launch-" in " ".join(words)
        if ours and words[-3] == str(number):
            return int(process.pid)
    return None
