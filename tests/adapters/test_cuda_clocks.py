"""No clock is read while a GPU works: a recording ``torch.cuda`` in front of a session on a core.

Operations run on the CPU and count as queued, until something waits for the device: then only may
a clock be read. The session, the probes and the link are told that they are on a GPU.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from torch.utils._python_dispatch import TorchDispatchMode  # noqa: E402

from adapters.pytorch import link  # noqa: E402
from adapters.pytorch.training import found, measured, probe  # noqa: E402
from adapters.pytorch.training.single import Training  # noqa: E402
from suite.contract.adapter import Inputs  # noqa: E402
from suite.contract.case import Case, Rank  # noqa: E402
from suite.contract.workloads import initial_weights  # noqa: E402
from suite.launch.inputs import load_data  # noqa: E402
from suite.ranks import train  # noqa: E402

CASE = Case("pytorch", "torch", "single", "", "mlp", "tiny", "synthetic", "cpu", 1, steps=4,
            probe_steps=2, warmup_limit=20)
GPU = torch.device("cuda", 0)


class Queue(TorchDispatchMode):
    """Whether work is queued; copies to the host wait for it, as they do on a GPU."""

    def __init__(self) -> None:
        super().__init__()
        self.busy, self.reads = False, 0

    def __torch_dispatch__(
        self, function: Any, types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        named = kwargs or {}
        copies = function is torch.ops.aten._to_copy.default
        to_host = copies and str(named.get("device", "")) == "cpu"
        if to_host or function is torch.ops.aten._local_scalar_dense.default:
            self.busy = False
        elif not function.is_view:  # a view is the host's bookkeeping
            self.busy = True
        return function(*args, **named)

    def synchronize(self, _device: Any = None) -> None:
        self.busy = False

    def read(self) -> float:
        """A clock that fails while the device works."""
        assert not self.busy, "a clock was read before the device had finished"
        self.reads += 1
        return time.perf_counter()


class Event:
    """A CUDA event, which is recorded in the stream and read when the stream has come so far."""

    def __init__(self, queue: Queue, enable_timing: bool) -> None:
        assert enable_timing
        self.queue, self.at = queue, 0.0

    def record(self, stream: Any) -> None:
        self.at = time.perf_counter()

    def elapsed_time(self, other: Event) -> float:
        assert not self.queue.busy, "an event was read before the device had finished"
        return 1e3 * (other.at - self.at)


@pytest.fixture
def queue(monkeypatch: pytest.MonkeyPatch) -> Iterator[Queue]:
    queue = Queue()
    replaced = {
        "synchronize": queue.synchronize, "current_stream": lambda device: None,
        "Event": lambda enable_timing: Event(queue, enable_timing),
        "max_memory_allocated": lambda device: 1, "mem_get_info": lambda device: (1, 3),
        "reset_peak_memory_stats": lambda device: None,
    }
    for name, function in replaced.items():
        monkeypatch.setattr(torch.cuda, name, function)
    clock = SimpleNamespace(
        perf_counter=queue.read, pthread_getcpuclockid=time.pthread_getcpuclockid)
    for module in (measured, probe, link):
        monkeypatch.setattr(module, "time", clock)
    monkeypatch.setattr(measured, "matmul_flops_s", lambda device, dtype: 1.0)
    monkeypatch.setattr(measured, "gpu_trace", lambda profiler, began, ended: measured.StepTrace())
    monkeypatch.setattr(measured, "profile", lambda device: _nothing())
    # It multiplies on the device itself, which is none here.
    monkeypatch.setattr(found, "tf32_products", lambda *_: False)
    # This process has not the threads of a rank.
    monkeypatch.setattr(train, "check_found", lambda *_: None)
    with queue:
        yield queue


@contextmanager
def _nothing() -> Iterator[SimpleNamespace]:
    """A profiler that saw no operation."""
    yield SimpleNamespace(events=list)


def _run(queue: Queue, folder: Path, spoil: Callable[[Training], None]) -> train.MeasuredTraining:
    arrays = load_data(CASE.spec, CASE.data, 0)
    inputs = Inputs(*arrays, CASE.spec.global_batch)
    rank = Rank(0, 1, folder)
    session = Training(CASE, rank, initial_weights(CASE.spec, 0), inputs, torch.device("cpu"))
    session.device = GPU
    spoil(session)
    training = train.MeasuredTraining(session, CASE, rank, queue.read)
    queue.synchronize()
    training.measure()
    return training


def test_every_clock_is_read_when_the_device_has_finished(queue: Queue, tmp_path: Path) -> None:
    record = _run(queue, tmp_path, lambda session: None).record
    assert len(record.step_seconds) == 4 and len(record.timed_step_seconds) == 2
    assert len(record.traced_step_seconds) == 3 and len(record.silent_step_seconds) == 2
    assert record.peak_memory_bytes == 1 and record.device_memory_bytes == 2
    # Two reads a step of every pass, and those of the probes.
    assert queue.reads >= 2 * (20 + 4 + 2 + 3 + 2)
    assert np.isfinite(record.losses).all()


@pytest.mark.parametrize("forgotten", ["step", "timed_step", "traced_step", "silent_step"])
def test_a_forgotten_synchronisation_is_found(
    queue: Queue, tmp_path: Path, forgotten: str
) -> None:
    def spoil(session: Training) -> None:
        original = session.synchronize
        running = {"now": ""}

        def during(name: str) -> None:
            whole = getattr(session, name)

            def called(*arguments: Any) -> Any:
                running["now"] = name
                try:
                    return whole(*arguments)
                finally:
                    running["now"] = ""
            setattr(session, name, called)

        if forgotten == "step":
            session.synchronize = lambda: None  # type: ignore[method-assign]
            return
        during(forgotten)
        session.synchronize = (  # type: ignore[method-assign]
            lambda: None if running["now"] else original())

    with pytest.raises(AssertionError, match="before the device had finished"):
        _run(queue, tmp_path, spoil)


def test_a_call_of_a_link_is_timed_to_its_end(
    queue: Queue, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = link.TorchLink.__new__(link.TorchLink)
    found.device = GPU
    tensor = torch.zeros(4)
    assert found._timed(lambda: tensor.add_(1))[0][0] == 0
    monkeypatch.setattr(torch.cuda, "synchronize", lambda device: None)
    with pytest.raises(AssertionError, match="before the device had finished"):
        found._timed(lambda: tensor.add_(1))
