"""Halves its one weight at each step; FAKE_FAULT plants what may become of its last rank."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np

from suite.contract.adapter import CommEvent, Inputs, StepTrace
from suite.contract.case import Case, Rank
from suite.contract.workloads import Weights

if os.environ.get("FAKE_FAULT") == "import":
    raise ImportError("planted")
if os.environ.get("FAKE_FAULT") == "pool":
    threading.Thread(target=time.sleep, args=(1000,), daemon=True).start()


def open_session(case: Case, rank: Rank, weights: Weights, inputs: Inputs) -> FakeSession:
    return FakeSession(case, rank, weights)


class FakeSession:
    def __init__(self, case: Case, rank: Rank, weights: Weights) -> None:
        self.case, self.rank, self.weights = case, rank, weights
        self.fault = os.environ.get("FAKE_FAULT", "")
        self.mine = rank.index == rank.processes - 1
        if self.fault == "environment":
            path = rank.folder / f"environment-{rank.index}.json"
            path.write_text(json.dumps(dict(os.environ)))

        self.compiled = "new"
        if self.fault == "compiles":
            mine_compiled = rank.folder / "compiled" / str(rank.index)
            self.compiled = "kept" if mine_compiled.exists() else "new"
            mine_compiled.parent.mkdir(exist_ok=True)
            mine_compiled.write_text("code")

    def step(self, index: int) -> int:
        if self.mine and index == 3:
            self._fail()
        return index

    def _fail(self) -> None:
        if self.fault == "crash":
            raise ValueError("planted crash")
        if self.fault == "memory":
            raise MemoryError("planted: out of memory")
        if self.fault == "kill":
            os.kill(os.getpid(), signal.SIGKILL)
        if self.fault == "hang":
            subprocess.Popen(["sleep", "1234.5"])
            time.sleep(1000)
        if self.fault in ("stop", "halted"):
            os.kill(os.getpid(), signal.SIGSTOP)
        if self.fault.startswith("leave"):
            os._exit(0)
        if self.fault in ("flood", "flood-on"):
            if self.fault == "flood-on":
                signal.signal(signal.SIGTERM, signal.SIG_IGN)
            while True:
                sys.stdout.write("x" * 100_000)
        if self.fault == "grandchild":
            stubborn = "import signal, time; signal.signal(15, signal.SIG_IGN); time.sleep(1234.5)"
            subprocess.Popen([sys.executable, "-c", stubborn], start_new_session=True)
            time.sleep(0.3)
            raise ValueError("planted: with a grandchild")

    def synchronize(self) -> None:
        if self.fault == "leave and lose" and not self.mine:
            time.sleep(0.5)
            raise RuntimeError("planted: connection closed by peer")
        if self.fault == "halted" and not self.mine:
            time.sleep(0.5)
            raise RuntimeError("planted: a heartbeat is missing")
        if self.fault in ("hang", "stop", "leave", "flood", "flood-on") and not self.mine:
            time.sleep(1000)

    def loss(self, handle: int) -> float:
        return 0.5**handle

    def gradients(self) -> Weights:
        return {name: np.ones_like(array) for name, array in self.weights.items()}

    def parameters(self) -> Weights:
        return {name: array + 1 for name, array in self.weights.items()}

    def timed_step(self, index: int) -> StepTrace:
        if self.fault == "probe_memory" and self.mine:
            raise MemoryError("planted: out of memory")
        if self.fault == "probe_memory":
            time.sleep(1000)
        busy = 1e-3 * (1 + self.rank.index)
        event = CommEvent("all_reduce", 8, 0.0, 1e-3, key="sum")
        clock = ((0.0, 0.0), (1e-3, 0.0), (1e-3 + busy, busy))
        return StepTrace([event], [clock], seconds=1e-3 + busy)

    def traced_step(self, index: int, timeline: Path | None) -> StepTrace:
        return StepTrace()

    def silent_step(self, index: int) -> None:
        return None

    def agree(self, ready: bool) -> bool:
        return ready

    def reset_peak_memory(self) -> None:
        return None

    def peak_memory_bytes(self) -> int:
        """FAKE_MEMORY=BASE:SAMPLE plants bytes of a process, and of each sample it computes on."""
        base, _, sample = os.environ.get("FAKE_MEMORY", "1000:0").partition(":")
        shared = self.case.spec.global_batch
        share = shared // self.case.devices if self.case.strategy == "data" else shared
        return int(base) + int(sample) * share

    def device_memory_bytes(self) -> int:
        return 0

    def matmul_flops_s(self) -> float:
        return 0.0

    def describe(self) -> dict[str, str]:
        threads = {"threads_per_device": "2"} if self.fault == "threads" else {}
        compiled = {"compiled": self.compiled} if self.fault == "compiles" else {}
        chance = {}
        if self.fault == "chance":
            name = tempfile.mktemp()  # noqa: S306 - only its name, which Python draws at random
            chance = {"chance": f"{random.random()} {np.random.rand()} {name}"}  # noqa: NPY002
        return {"fake": "yes"} | threads | compiled | chance

    def close(self) -> Any:
        if self.mine and self.fault == "truncated":
            # As a full disk leaves it; the process is gone before it can say more.
            (self.rank.folder / f"rank-{self.rank.index}.json").write_text('{"rank": 1, "step_')
            os._exit(0)
        if self.mine and self.fault == "version":
            record = {"schema_version": 999, "rank": "1"}
            (self.rank.folder / f"rank-{self.rank.index}.json").write_text(json.dumps(record))
            os._exit(0)
