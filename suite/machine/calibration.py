"""What the machine gives before and over each block: rates of cores, steal, load, GPU clocks."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from suite.machine.gpus import Gpu, slowed, under_load, usable_gpus
from suite.machine.probe import Asked, Unknown, ask, known

# One thread each, before NumPy is imported: https://numpy.org/doc/stable/reference/global_state
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
    """One core before a block: float32 matrix product and memory copy, per second."""

    device: str
    matmul_flops_s: float
    copy_bytes_s: float


@dataclass
class Block:
    """One block's conditions.

    Attributes:
        block: Its number.
        rates: Of each core, before it; empty where they could not be measured.
        seconds: How long it took.
        steal_share: Share of the cores' time that the hypervisor gave to others; None if unknown.
        load: Load average at its end.
        frequency_mhz: Of the cores; None if unknown.
        gpus: State of each GPU at its end.
    """

    block: int
    rates: list[CoreRate]
    seconds: float = 0.0
    steal_share: float | None = None
    load: float = 0.0
    frequency_mhz: float | None = None
    gpus: list[dict[str, Any]] = field(default_factory=list)

    @classmethod
    def read(cls, content: dict[str, Any]) -> Block:
        """From ``run.json``."""
        return cls(**content | {"rates": [CoreRate(**rate) for rate in content["rates"]]})

    def rows(self) -> list[dict[str, Any]]:
        """For ``calibration.csv``: a row for each core, then one for each GPU."""
        common = {"block": self.block, "steal_share": self.steal_share, "load": self.load}
        cores = [common | asdict(rate) | {"throttle": ""} for rate in self.rates]
        return cores + [common | {"device": f"gpu{gpu['index']}", "throttle": gpu["throttle"]}
                        for gpu in self.gpus]


class Calibration:
    """Measures before a block, and says what happened over it afterwards."""

    def __init__(self, cores: Sequence[int], clock: Callable[[], float] = time.monotonic) -> None:
        self.cores, self.clock = list(cores), clock
        self.times: list[Times] = []
        self.gpus: list[Gpu] = []
        self.watch: Asked | None = None
        self.began = 0.0

    def begin(self, block: int) -> Block:
        """The rates of every core; counts from here on."""
        begun = Block(block, measure_cores(self.cores))
        self.gpus = usable_gpus()
        self.watch = Asked("suite.machine.gpu_watch") if self.gpus else None
        self.began, self.times = self.clock(), core_times(self.cores)
        return begun

    def end(self, block: Block) -> None:
        """Completes ``block`` with what its launches met."""
        block.seconds = self.clock() - self.began
        block.steal_share = steal_share(self.times, core_times(self.cores))
        block.load = load_average()
        block.frequency_mhz = known(_frequency_mhz, None)
        after = usable_gpus()
        reasons = slowed(self.gpus, after, block.seconds)
        watched = self._watched()
        block.gpus = [_over_block(gpu, reasons, watched.get(gpu.index, {})) for gpu in after]

    def _watched(self) -> dict[int, Any]:
        """Index of a GPU -> what it ran at over the block; empty where nobody could watch."""
        watch, self.watch = self.watch, None
        try:
            return dict(enumerate(watch.answer(WATCH_SECONDS))) if watch else {}
        except Unknown:
            return {}


def _over_block(gpu: Gpu, reasons: Mapping[int, str], watched: Mapping[str, Any]) -> dict[str, Any]:
    """State of a GPU after a block, with what slowed it in the block: counted, or seen."""
    seen = under_load(watched)
    why = (*reasons.get(gpu.index, gpu.throttle).split(", "), *seen.get("throttle", "").split(", "))
    return gpu.state() | seen | {"throttle": ", ".join(dict.fromkeys(filter(None, why)))}


def measure_cores(cores: Sequence[int]) -> list[CoreRate]:
    """Rates of each core, in under a second for all of them; empty where nothing answers."""
    names = ",".join(map(str, cores))
    try:
        rates = ask("suite.machine.core_rates", names, seconds=PROCESS_SECONDS, extra=THREADS)
    except Unknown:
        return []
    return [CoreRate(**rate) for rate in rates]


def relative_speeds(rates: Sequence[CoreRate]) -> list[float]:
    """Matrix-product rates over the fastest core's, to two digits, which is what they repeat to."""
    fastest = max(rate.matmul_flops_s for rate in rates)
    return [round(rate.matmul_flops_s / fastest, 2) for rate in rates]


def load_average() -> float:
    """Over the last minute; 0 where the system does not tell."""
    return known(lambda: os.getloadavg()[0], 0.0)


def core_times(cores: Sequence[int]) -> list[Times]:
    """Seconds that each core has spent in each state since boot.

    Empty where the system does not show them, or lists fewer cores than a process may use, as some
    containers do.
    """
    import psutil

    every: list[Any] = known(lambda: list(psutil.cpu_times(percpu=True)), list[Any]())
    if not cores or max(cores) >= len(every):
        return []
    return [every[core]._asdict() for core in cores]


def steal_share(before: Sequence[Times], after: Sequence[Times]) -> float | None:
    """Share of the cores' time that the hypervisor gave to others; None where it is not told."""
    if not after or len(before) != len(after) or not all("steal" in times for times in after):
        return None
    # Guest time is part of user time already (proc(5)).
    total = stolen = 0.0
    for old, new in zip(before, after, strict=True):
        total += sum(new[name] - old[name] for name in new if not name.startswith("guest"))
        stolen += new["steal"] - old["steal"]
    return stolen / total if total > 0 else 0.0


def _frequency_mhz() -> float | None:
    import psutil

    frequency = psutil.cpu_freq()
    return frequency.current if frequency else None
