"""Plans as data: contiguous batch shards, column and row splits, stage cuts, micro-batches."""

from __future__ import annotations

STRATEGIES = ("single", "data", "intra_layer", "inter_layer")
# A process for each device where the plain variant has one for all.
MULTI_WORKER = "multi_worker"
VARIANTS: dict[str, tuple[str, ...]] = {
    "single": ("",),
    "data": ("", "fsdp", "fp16", "bf16", MULTI_WORKER),
    "intra_layer": ("",),
    "inter_layer": ("gpipe", "1f1b", "naive", "interleaved"),
}
# Formats that gradients travel in; they are computed and applied in float32.
COMPRESSIONS = ("fp16", "bf16")
# On a mesh of devices with an axis for each part; asked for by name, in no default matrix.
COMBINED: dict[str, tuple[str, ...]] = {
    "data+intra_layer": ("",),
    "data+inter_layer": VARIANTS["inter_layer"],
    "intra_layer+inter_layer": VARIANTS["inter_layer"],
    "data+intra_layer+inter_layer": VARIANTS["inter_layer"],
}
# Stages that a device of an interleaved pipeline takes in turns.
VIRTUAL_STAGES = 2
