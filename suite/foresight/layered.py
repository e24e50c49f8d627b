"""torchgpipe's pipelines: stages of counted layers, with recomputation ahead of the gradient."""

from __future__ import annotations

import csv
import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np

from suite.foresight.figures import Figure
from suite.foresight.fitting import Base, from_datasheet
from suite.foresight.hardware import DATA, find_device
from suite.foresight.machine import FLOAT32, Machine
from suite.foresight.published import Row, table
from suite.foresight.units import Array

ELEMENT_BYTES = 4.0
# The share of a batch's time that is its forward pass, of the baseline that counts no layers.
FORWARD = 1.0 / 3.0


@dataclass(frozen=True)
class Layers:
    """Seconds of one sample in each layer of a model; arrays (layers,).

    Attributes:
        forward_s: Of the forward pass.
        backward_s: Of the backward pass.
        hop_s: Of sending what leaves the layer to another device.
    """

    forward_s: Array
    backward_s: Array
    hop_s: Array

    def stages(self, balance: Sequence[int]) -> Layers:
        """Sums over the layers of each stage; the hop behind each."""
        ends = np.cumsum(balance)
        starts = ends - np.array(balance)
        return Layers(np.add.reduceat(self.forward_s, starts),
                      np.add.reduceat(self.backward_s, starts), self.hop_s[ends - 1])


@cache
def counted(model: str) -> Array:
    """Counts of a model's layers (layers, 7), as ``scripts/count_layers.py`` writes them."""
    with (DATA / "torchgpipe_layers.csv").open(encoding="utf-8", newline="") as file:
        rows = [row for row in csv.reader(file) if row[0] == model]
    return np.array([[float(one) for one in row[2:]] for row in rows])


def layer_times(model: str, machine: Machine) -> Layers:
    """Times on a machine: products by the roofline (Williams et al. 2009), the rest streamed."""
    counts = counted(model)
    rate, memory = machine.product_flops_s, machine.stream_bytes_s / ELEMENT_BYTES
    forward, backward = (
        np.maximum(counts[:, i] / rate, counts[:, i + 1] / memory) + counts[:, i + 2] / memory
        for i in (0, 3))
    return Layers(forward, backward, counts[:, 6] * ELEMENT_BYTES / machine.inside.bytes_s)


def histogram_cut(costs: Sequence[float] | Array, stages: int) -> list[int]:
    """Layers of each stage as GPipe's own program cuts them.

    A layer goes to the stage ``int(stages * share)``, where the share is that of the costs up to
    and with it (``PartitionSequentialLayers`` in ``core/gpipe.py`` of Lingvo; costs are forward
    FLOPs there).
    """
    shares = np.cumsum(costs) / np.sum(costs)
    owners = np.minimum((shares * stages).astype(int), stages - 1)
    return [int((owners == stage).sum()) for stage in range(stages)]


def batch_seconds(
    stages: Layers, samples: float, parts: int, keeps_last: bool = True
) -> float:
    """Seconds of a batch in GPipe's schedule, replayed, with recomputation ahead of the gradient.

    A micro-batch is computed forward again as soon as the device is free: torchgpipe waits for the
    gradient's copy between recomputation and backward pass, not before both (its ``checkpoint.py``;
    Kim et al. 2020), and GPipe schedules it "earlier, without waiting for the gradients" (Huang et
    al. 2019, section 2.3). Copies between devices run beside compute.

    Args:
        stages: Times of one sample in each stage.
        samples: Samples of the batch.
        parts: Micro-batches that it is divided into.
        keeps_last: Whether the last micro-batch of several is not computed again, as in torchgpipe;
            GPipe computes all again.
    """
    each = samples / parts
    forward, backward = stages.forward_s * each, stages.backward_s * each
    count, hop = len(forward), stages.hop_s * each
    done, free = np.zeros((count, parts)), np.zeros(count)
    for part in range(parts):
        for stage in range(count):
            arrived = done[stage - 1, part] + hop[stage - 1] if stage else 0.0
            free[stage] = max(free[stage], arrived) + forward[stage]
            done[stage, part] = free[stage]
    for part in reversed(range(parts)):
        again = part < parts - 1 or parts == 1 or not keeps_last
        for stage in reversed(range(count)):
            last = stage == count - 1
            arrived = done[stage, part] if last else done[stage + 1, part] + hop[stage]
            ready = free[stage] + again * forward[stage]
            free[stage] = max(ready, arrived) + backward[stage]
            done[stage, part] = free[stage]
    return float(free.max())


def judge_pipelines() -> list[Figure]:
    """Speedups of torchgpipe's and GPipe's pipelines; nothing is calibrated.

    torchgpipe's devices are P40, and GPipe's of AmoebaNet cores of a TPU v2 (Huang et al. 2019,
    section 3), both by their datasheets. torchgpipe states its cuts; GPipe's program cuts by FLOPs,
    which is uneven in time where some layers are bound by memory. The baseline is the ideal bubble
    of even stages.
    """
    rows = [row for row in table() if row["source"].startswith(("torchgpipe speed", "GPipe"))]
    known = [(row, value) for row in rows for value in [_published(row, rows)] if value]
    return [Figure(row["source"], "pipeline speedup", row["model"], value,
                   _rate(row) / _rate(_base(row, rows)),
                   _even_seconds(*_reference(row)) / _even_seconds(*_split(row)))
            for row, value in known]


def _rate(row: Row) -> float:
    """Samples a second that are predicted for a row."""
    own = _is_gpipe(row)
    layers, (count, parts) = layer_times(row["model"], _machine(row)), _split(row)
    samples = float(row["global_batch"] or max(parts, 1))
    if not parts:
        return 1.0 / float((layers.forward_s + layers.backward_s).sum())
    stages = layers.stages(_balance(row, count))
    return samples / batch_seconds(stages, samples, parts, keeps_last=not own)


def _is_gpipe(row: Row) -> bool:
    return row["source"].startswith("GPipe")


def _machine(row: Row) -> Machine:
    name, dtype = ("TPU v2 core", "bf16") if _is_gpipe(row) else ("P40", "fp32")
    return from_datasheet(Base(find_device(name), dtype, 8.0, FLOAT32)).stack.machine


def _balance(row: Row, count: int) -> list[int]:
    if _is_gpipe(row):
        return histogram_cut(counted(row["model"])[:, 0], count)
    found = re.search(r"balance ([\d+]+) layers", row["note"])
    if found is None:
        raise ValueError(f"{row['table']}: {row['model']} on {count} stages states no balance")
    return [int(one) for one in found.group(1).split("+")]


def _reference(row: Row) -> tuple[int, int]:
    """Stages and micro-batches of what a speedup is over: one device, or n=2, m=1."""
    return (2, 1) if row["model"].startswith("AmoebaNet") else (1, 0)


def _split(row: Row) -> tuple[int, int]:
    chunks = re.search(r"chunks (\d+)", row["note"]) or re.search(r"(\d+) micro-b", row["note"])
    return int(row["pp"]), int(chunks.group(1)) if chunks else 0


def _base(row: Row, rows: Sequence[Row]) -> Row:
    return next(one for one in rows if one["table"] == row["table"]
                and one["model"] == row["model"] and _split(one) == _reference(row))


def _published(row: Row, rows: Sequence[Row]) -> float | None:
    stages, parts = _split(row)
    if not parts or (stages, parts) == _reference(row):
        return None
    base = float(_base(row, rows)["value"])
    return float(row["value"]) / (1.0 if row["metric"] == "speedup" else base)


def _even_seconds(stages: int, parts: int) -> float:
    """Time of a batch on even stages over that of one device without recomputation."""
    if not parts:
        return 1.0
    again = FORWARD * (1.0 if parts == 1 else (parts - 1.0) / parts)
    return (1.0 + again) * (parts + stages - 1.0) / (parts * stages)
