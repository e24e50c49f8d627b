"""The names of the strategies, of their variants and of the combinations of strategies."""

from __future__ import annotations

STRATEGIES = ("single", "data", "intra_layer", "inter_layer")
# Stands for all strategies: the suite looks at every way, and runs the few that may be the fastest.
AUTO = "auto"
# A worker process for each device, where the plain variant drives all devices from one process.
MULTI_WORKER = "multi_worker"
# Gradients are collected for less or more time before they are sent, or sent in smaller pieces; in
# the last one the library itself looks for the settings.
AUTOTUNED = "autotuned"
TUNED = ("short_cycle", "long_cycle", "small_fusion", AUTOTUNED)
VARIANTS: dict[str, tuple[str, ...]] = {
    "single": ("",),
    "data": ("", "fsdp", "zero1", "zero2", "fp16", "bf16", MULTI_WORKER, *TUNED),
    "intra_layer": ("",),
    "inter_layer": ("gpipe", "1f1b", "naive", "interleaved"),
}
# Variants of data that spread over the devices what the plain one keeps on each (Rajbhandari et al.
# 2020): stage 1 the optimiser's state, stage 2 also gradients and, between steps, parameters, and
# stage 3 also parameters within a step.
ZERO = ("zero1", "zero2", "fsdp")
# 16-bit formats in which gradients are communicated; they are computed and applied in float32.
COMPRESSIONS = ("fp16", "bf16")
# Strategies combined on a mesh, with an axis for each. Users ask for them by name; no default
# matrix of cases contains them.
COMBINED: dict[str, tuple[str, ...]] = {
    "data+intra_layer": ("",),
    "data+inter_layer": VARIANTS["inter_layer"],
    "intra_layer+inter_layer": VARIANTS["inter_layer"],
    "data+intra_layer+inter_layer": VARIANTS["inter_layer"],
}
# Stages that each device of an interleaved pipeline holds.
VIRTUAL_STAGES = 2
