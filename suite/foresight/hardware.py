"""Named devices: what their datasheets print, from data/hardware.csv with its sources."""

from __future__ import annotations

import csv
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from suite.contract.errors import UsageError

DATA = Path(__file__).parent / "data"
FORMATS = ("bf16", "fp16", "tf32", "fp32")


@dataclass(frozen=True)
class Device:
    """A device by its datasheet; rates are the vendor's, which no program reaches.

    Attributes:
        name: Name in the table.
        peak_flops_s: Number format to dense FLOPs a second.
        memory_bytes: Bytes of memory.
        memory_bytes_s: Bytes a second of its memory.
        inside_bytes_s: Bytes a second, in one direction, to the devices of its node.
        between_bytes_s: Bytes a second of its share of the node's network cards.
        source: Where the figures come from.
        product_share: Share of the peak that large products were measured to reach on this very
            machine; 0 where it is not known.
        stream_share: The same of the memory's rate.
    """

    name: str
    peak_flops_s: dict[str, float]
    memory_bytes: float
    memory_bytes_s: float
    inside_bytes_s: float
    between_bytes_s: float
    source: str
    product_share: float = 0.0
    stream_share: float = 0.0

    def peak(self, dtype: str) -> float:
        """Peak of a number format; eight-bit formats are twice as fast as 16-bit ones."""
        if dtype in ("fp8", "float8"):
            return 2.0 * self.peak("bf16")
        named = {"float32": "fp32", "float16": "fp16"}.get(dtype, dtype)
        found = self.peak_flops_s.get(named) or self.peak_flops_s.get("fp16", 0.0)
        if not found:
            formats = ", ".join(self.peak_flops_s) or "none"
            raise UsageError("--dtype", dtype, f"a format of {self.name}: {formats}",
                             "choose one of them")
        return found


def _number(text: str, unit: float) -> float:
    return float(text) * unit if text else 0.0


@cache
def devices() -> dict[str, Device]:
    """All devices of the table, by name."""
    with (DATA / "hardware.csv").open(encoding="utf-8", newline="") as file:
        return {row["device"]: _device(row) for row in csv.DictReader(file)}


def _device(row: dict[str, str]) -> Device:
    peaks = {f: _number(row[f"peak_tflops_{f}"], 1e12) for f in FORMATS}
    return Device(
        row["device"], {name: peak for name, peak in peaks.items() if peak},
        memory_bytes=_number(row["memory_gib"], 1e9),
        memory_bytes_s=_number(row["memory_bandwidth_gbs"], 1e9),
        inside_bytes_s=_number(row["intra_node_gbs_per_direction"], 1e9),
        between_bytes_s=_number(row["inter_node_gbs"], 1e9), source=row["source"],
    )


def find_device(name: str) -> Device:
    """The device of that name, or whose name contains it.

    Raises:
        UsageError: If no device or more than one is meant.
    """
    known = devices()
    found = [one for one in known if name.lower() in one.lower()]
    if name in known or len(found) == 1:
        return known[name if name in known else found[0]]
    raise UsageError("--machine", name, "one of " + ", ".join(known),
                     "name one device, or add a row to suite/foresight/data/hardware.csv")
