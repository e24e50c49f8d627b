"""Measures the machine around each block: rates of cores, stolen time, load, and GPU clocks."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from suite.machine.gpus import Gpu, slowed, under_load, usable_gpus
from suite.machine.neighbours import Usage, neighbours, others_cores, usage
from suite.machine.probe import Asked, Unknown, ask, known

# These give NumPy's libraries one thread each. They have to be set before NumPy is imported:
# https://numpy.org/doc/stable/reference/global_state
THREADS = {name: "1" for name in
           ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "BLIS_NUM_THREADS")}
PROCESS_SECONDS = 30.0
# A watch ends within a look of when it is asked to.
WATCH_SECONDS = 5.0
COLUMNS = [
    "block", "device", "matmul_flops_s", "copy_bytes_s", "steal_share", "load", "throttle",
]
Times = dict[str, float]


@dataclass(frozen=True)
class CoreRate:
    """What one core did before a block: FLOP/s of float32 matrix products, bytes/s of memory
    copies.
    """

    device: str
    matmul_flops_s: float
    copy_bytes_s: float


@dataclass
class Block:
    """The conditions under which one block ran.

    Attributes:
        block: The number of the block.
        rates: The rates of each core before the block; empty if they could not be measured.
        seconds: How long the block took.
        steal_share: The share of the cores' time that the hypervisor gave to others, or None.
        load: The load average at the end of the block.
        frequency_mhz: The frequency of the cores, or None if unknown.
        gpus: The state of each GPU at the end of the block.
        others_cores: How many of the cores other programs kept busy, or None if unknown.
        neighbours: The busiest of those programs that were still there at the end of the block.
    """

    block: int
    rates: list[CoreRate]
    seconds: float = 0.0
    steal_share: float | None = None
    load: float = 0.0
    frequency_mhz: float | None = None
    gpus: list[dict[str, Any]] = field(default_factory=list)
    others_cores: float | None = None
    neighbours: list[dict[str, Any]] = field(default_factory=list)

    @classmethod
    def read(cls, content: dict[str, Any]) -> Block:
        """Returns the block that ``run.json`` holds as ``content``."""
        return cls(**content | {"rates": [CoreRate(**rate) for rate in content["rates"]]})

    def rows(self) -> list[dict[str, Any]]:
        """Returns the rows of ``calibration.csv``: one for each core, then one for each GPU."""
        common = {"block": self.block, "steal_share": self.steal_share, "load": self.load}
        cores = [common | asdict(rate) | {"throttle": ""} for rate in self.rates]
        return cores + [common | {"device": f"gpu{gpu['index']}", "throttle": gpu["throttle"]}
                        for gpu in self.gpus]


class Calibration:
    """Measures the machine before a block, and afterwards says what happened during it."""

    def __init__(self, cores: Sequence[int], clock: Callable[[], float] = time.monotonic) -> None:
        self.cores, self.clock = list(cores), clock
        self.times: list[Times] = []
        self.gpus: list[Gpu] = []
        self.watch: Asked | None = None
        self.usage: Usage | None = None
        self.began = 0.0

    def begin(self, block: int) -> Block:
        """Measures the rates of every core and starts to count stolen time."""
        begun = Block(block, measure_cores(self.cores))
        self.gpus, self.usage = usable_gpus(), usage()
        self.watch = Asked("suite.machine.gpu_watch") if self.gpus else None
        self.began, self.times = self.clock(), core_times(self.cores)
        return begun

    def end(self, block: Block) -> None:
        """Completes ``block`` with the conditions that its launches met."""
        block.seconds = self.clock() - self.began
        times, used = core_times(self.cores), usage()
        block.steal_share = steal_share(self.times, times)
        if self.usage and block.seconds > 0:
            block.others_cores = others_cores(self.usage, used, self.times, times, block.seconds)
            block.neighbours = [asdict(one) for one in neighbours(self.usage, used, block.seconds)]
        block.load = load_average()
        block.frequency_mhz = known(_frequency_mhz, None)
        after = usable_gpus()
        reasons = slowed(self.gpus, after, block.seconds)
        watched = self._watched()
        block.gpus = [_over_block(gpu, reasons, watched.get(gpu.index, {})) for gpu in after]

    def _watched(self) -> dict[int, Any]:
        """Maps a GPU's index to what it ran at over the block; empty if nobody could watch."""
        watch, self.watch = self.watch, None
        try:
            return dict(enumerate(watch.answer(WATCH_SECONDS))) if watch else {}
        except Unknown:
            return {}


def _over_block(gpu: Gpu, reasons: Mapping[int, str], watched: Mapping[str, Any]) -> dict[str, Any]:
    """Returns the state of a GPU after a block, with what slowed it: counted, or seen by looks."""
    seen = under_load(watched)
    why = (*reasons.get(gpu.index, gpu.throttle).split(", "), *seen.get("throttle", "").split(", "))
    return gpu.state() | seen | {"throttle": ", ".join(dict.fromkeys(filter(None, why)))}


def measure_cores(cores: Sequence[int]) -> list[CoreRate]:
    """Measures the rates of each core, in under a second for all of them.

    Returns:
        A rate for each core; nothing if the measuring process did not answer.
    """
    names = ",".join(map(str, cores))
    try:
        rates = ask("suite.machine.core_rates", names, seconds=PROCESS_SECONDS, extra=THREADS)
    except Unknown:
        return []
    return [CoreRate(**rate) for rate in rates]


def relative_speeds(rates: Sequence[CoreRate]) -> list[float]:
    """Returns each core's matrix-product rate relative to the fastest, rounded to two digits.

    More digits would not repeat in the next measurement.
    """
    fastest = max(rate.matmul_flops_s for rate in rates)
    return [round(rate.matmul_flops_s / fastest, 2) for rate in rates]


def load_average() -> float:
    """Returns the load average of the last minute; 0 if the system does not tell it."""
    return known(lambda: os.getloadavg()[0], 0.0)


def core_times(cores: Sequence[int]) -> list[Times]:
    """Returns how many seconds each core has spent in each state since the machine started.

    The result is empty if the system does not show these times. Some containers list fewer cores
    than a process may use; it is empty there, too.
    """
    import psutil

    every: list[Any] = known(lambda: list(psutil.cpu_times(percpu=True)), list[Any]())
    if not cores or max(cores) >= len(every):
        return []
    return [every[core]._asdict() for core in cores]


def steal_share(before: Sequence[Times], after: Sequence[Times]) -> float | None:
    """Returns which share of the cores' time the hypervisor gave to others between two readings.

    The result is None if the system does not tell it.
    """
    if not after or len(before) != len(after) or not all("steal" in times for times in after):
        return None
    # User time already includes the time of guests (proc(5)).
    total = stolen = 0.0
    for old, new in zip(before, after, strict=True):
        total += sum(new[name] - old[name] for name in new if not name.startswith("guest"))
        stolen += new["steal"] - old["steal"]
    return stolen / total if total > 0 else 0.0


def _frequency_mhz() -> float | None:
    import psutil

    frequency = psutil.cpu_freq()
    return frequency.current if frequency else None
