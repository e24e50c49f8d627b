"""What the machine gives before and over each block: rates per core, steal, load, GPU clocks.

    python -m suite.machine.calibration CORES      prints a JSON list, one entry a core

The measurement runs in a process of its own with one thread that moves from core to core, so the
harness loads no numerical library's threads and every core is measured alone, as a single device
has it.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

# One thread each, before NumPy is imported: https://numpy.org/doc/stable/reference/global_state
THREADS = {name: "1" for name in
           ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "BLIS_NUM_THREADS")}
TOTAL_SECONDS, CORE_SECONDS = 0.7, 0.15
MATRIX, COPY_BYTES = 384, 32 * 1024 * 1024
PROCESS_SECONDS = 30.0
# NVML's clock event reasons that slow a GPU down, by bit; idle and asked-for clocks do not.
THROTTLES = {
    0x4: "power cap", 0x8: "hardware slowdown", 0x20: "software thermal",
    0x40: "hardware thermal", 0x80: "power brake",
}
# What the driver counts of them, microseconds since it was loaded; names without a prefix.
COUNTED = {
    "sw_power_cap": "power cap", "sw_thermal_slowdown": "software thermal",
    "hw_thermal_slowdown": "hardware thermal", "hw_power_brake_slowdown": "power brake",
}
SLOWED_SHARE = 0.01  # of a block's time
Times = dict[str, float]
Counters = dict[str, dict[str, int]]


@dataclass(frozen=True)
class CoreRate:
    """One core before a block: float32 matrix product and memory copy, per second."""

    device: str
    matmul_flops_s: float
    copy_bytes_s: float


@dataclass
class Block:
    """One block's conditions; ``steal_share`` is a share of the cores' time, None if unreadable."""

    block: int
    rates: list[CoreRate]
    seconds: float = 0.0
    steal_share: float | None = None
    load: float = 0.0
    frequency_mhz: float | None = None
    gpus: list[dict[str, str]] = field(default_factory=list)

    @classmethod
    def read(cls, content: dict[str, Any]) -> Block:
        """From ``run.json``."""
        return cls(**content | {"rates": [CoreRate(**rate) for rate in content["rates"]]})

    def rows(self) -> list[dict[str, Any]]:
        """For ``calibration.csv``: one a core, then one a GPU."""
        common = {"block": self.block, "steal_share": self.steal_share, "load": self.load}
        cores = [common | asdict(rate) | {"throttle": ""} for rate in self.rates]
        return cores + [common | {"device": f"gpu{gpu['index']}", "throttle": gpu["throttle"]}
                        for gpu in self.gpus]


COLUMNS = [
    "block", "device", "matmul_flops_s", "copy_bytes_s", "steal_share", "load", "throttle",
]


class Calibration:
    """Measures before a block, and what happened over it afterwards."""

    def __init__(self, cores: Sequence[int], clock: Callable[[], float] = time.monotonic) -> None:
        self.cores, self.clock = list(cores), clock
        self.times: list[Times] = []
        self.counters: Counters = {}
        self.began = 0.0

    def begin(self, block: int) -> Block:
        """Rates of every core; counts from here on."""
        found = Block(block, measure_cores(self.cores))
        self.counters = gpu_counters()
        self.began, self.times = self.clock(), core_times(self.cores)
        return found

    def end(self, block: Block) -> None:
        """Completes ``block`` with what its launches met."""
        import psutil

        block.seconds = self.clock() - self.began
        block.steal_share = steal_share(self.times, core_times(self.cores))
        block.load = os.getloadavg()[0]
        frequency = psutil.cpu_freq()
        block.frequency_mhz = frequency.current if frequency else None
        over = slowed(self.counters, gpu_counters(), block.seconds)
        block.gpus = [
            gpu | {"throttle": over.get(gpu["index"], gpu["throttle"])} for gpu in gpu_states()
        ]


def measure_cores(cores: Sequence[int]) -> list[CoreRate]:
    """Rates of each core, in under a second for all of them."""
    command = [sys.executable, "-m", "suite.machine.calibration", ",".join(map(str, cores))]
    done = subprocess.run(
        command, env=os.environ | THREADS, capture_output=True, text=True, check=True,
        timeout=PROCESS_SECONDS,
    )
    return [CoreRate(**item) for item in json.loads(done.stdout)]


def relative_speeds(rates: Sequence[CoreRate]) -> list[float]:
    """Matrix-product rates over the fastest core's; two digits, which is what they repeat to."""
    fastest = max(rate.matmul_flops_s for rate in rates)
    return [round(rate.matmul_flops_s / fastest, 2) for rate in rates]


def core_times(cores: Sequence[int]) -> list[Times]:
    """Seconds each core has spent in each state since boot."""
    import psutil

    every = psutil.cpu_times(percpu=True)
    return [every[core]._asdict() for core in cores]


def steal_share(before: Sequence[Times], after: Sequence[Times]) -> float | None:
    """Share of the cores' time that the hypervisor gave to others; None where it is not told."""
    if not all("steal" in times for times in after):
        return None
    # Guest time is part of user time already (proc(5)).
    total = stolen = 0.0
    for old, new in zip(before, after, strict=True):
        total += sum(new[name] - old[name] for name in new if not name.startswith("guest"))
        stolen += new["steal"] - old["steal"]
    return stolen / total if total > 0 else 0.0


def gpu_states() -> list[dict[str, str]]:
    """Index, name, SM clock in MHz and throttle reasons of each GPU that nvidia-smi lists."""
    for reasons in ("clocks_event_reasons", "clocks_throttle_reasons"):  # from driver 535, before
        lines = _query("index", "name", "clocks.sm", f"{reasons}.active")
        if lines:
            return [parse_gpu(line) for line in lines]
    return []


def gpu_counters() -> Counters:
    """GPU index -> reason -> microseconds for which it slowed the GPU; empty on older drivers.

    What is active at the end of a block is what the idle GPU has, when its launches are over.
    """
    lines = _query("index", *(f"clocks_event_reasons_counters.{name}" for name in COUNTED))
    found = {}
    for line in lines:
        index, *counts = (part.strip() for part in line.split(","))
        named = zip(COUNTED.values(), counts, strict=True)
        found[index] = {reason: int(count) for reason, count in named if count.isdecimal()}
    return found


def slowed(before: Counters, after: Counters, seconds: float) -> dict[str, str]:
    """GPU index -> the reasons that slowed it for more than ``SLOWED_SHARE`` of the time between.

    Without those GPUs whose driver does not count.
    """
    least = SLOWED_SHARE * seconds * 1e6
    return {
        index: ", ".join(
            reason for reason, count in counts.items()
            if count - before.get(index, {}).get(reason, count) > least
        )
        for index, counts in after.items() if counts
    }


def _query(*fields: str) -> list[str]:
    """Lines of nvidia-smi's CSV, of the GPUs that are to be used; none where it fails."""
    tool, chosen = shutil.which("nvidia-smi"), os.environ.get("CUDA_VISIBLE_DEVICES")
    if tool is None:
        return []
    command = [tool, f"--query-gpu={','.join(fields)}", "--format=csv,noheader,nounits"]
    command += [f"--id={chosen}"] if chosen else []
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    whole = [line for line in done.stdout.splitlines() if line.count(",") == len(fields) - 1]
    return whole if done.returncode == 0 else []


def parse_gpu(line: str) -> dict[str, str]:
    """A line of nvidia-smi's CSV; reasons are a bit mask in hexadecimal."""
    index, name, clock, mask = (part.strip() for part in line.split(","))
    bits = int(mask, 16) if mask.startswith("0x") else 0
    reasons = ", ".join(text for bit, text in THROTTLES.items() if bits & bit)
    return {"index": index, "name": name, "sm_clock_mhz": clock, "throttle": reasons}


def _rates(core: int, seconds: float) -> CoreRate:
    import numpy as np

    os.sched_setaffinity(0, {core})
    a = np.ones((MATRIX, MATRIX), np.float32)
    source, target = np.ones(COPY_BYTES, np.uint8), np.empty(COPY_BYTES, np.uint8)
    product = _fastest(lambda: a @ a, seconds / 2)
    copied = _fastest(lambda: np.copyto(target, source), seconds / 2)
    return CoreRate(f"cpu{core}", 2.0 * MATRIX**3 / product, COPY_BYTES / copied)


def _fastest(work: Callable[[], Any], seconds: float) -> float:
    """Seconds of the fastest call: what interrupts it only adds."""
    work()
    best, end = float("inf"), time.perf_counter() + seconds
    while time.perf_counter() < end:
        began = time.perf_counter()
        work()
        best = min(best, time.perf_counter() - began)
    return best


def main() -> None:
    cores = [int(core) for core in sys.argv[1].split(",")]
    each = min(CORE_SECONDS, TOTAL_SECONDS / len(cores))
    print(json.dumps([asdict(_rates(core, each)) for core in cores]))


if __name__ == "__main__":
    main()
