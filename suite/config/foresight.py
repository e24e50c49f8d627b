"""Every option of ``predict`` and ``advise``, declared as those of ``run`` are."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Annotated, Literal

from annotated_types import Ge, Gt

from suite.config.model import INTERPRETERS
from suite.config.option import Option


@dataclass(frozen=True)
class ForesightConfig:
    """What ``predict`` and ``advise`` look ahead to."""

    workload: Annotated[
        str, Option("mlp, gpt, bert, xlnet, resnet, efficientnet, or package.module:object",
                    names="workload"),
    ] = "gpt"
    size: Annotated[str, Option("size of the workload; the smallest useful one without",
                                names="size")] = ""
    machine: Annotated[
        str, Option("here (needs predict --calibrate), or a device of the datasheet table: A100 "
                    "SXM 80GB"),
    ] = "here"
    framework: Annotated[
        str, Option("whose constants of the machine here, with an engine if it has several: "
                    "pytorch, horovod/tensorflow", names="framework"),
    ] = "pytorch"
    mode: Annotated[Literal["eager", "compiled"], Option("eager or compiled", names="mode")] = (
        "eager"
    )
    dtype: Annotated[
        Literal["auto", "float32", "tf32", "fp16", "bf16", "fp8"],
        Option("number format; auto is float32 here and the device's 16-bit format elsewhere"),
    ] = "auto"
    devices: Annotated[int, Ge(1), Option("how many devices share a step")] = 2
    node_devices: Annotated[int, Ge(1), Option("devices of a node")] = 8
    batch: Annotated[
        Annotated[int, Ge(1)] | None,
        Option("samples a step over all devices; the workload's own by default", example="256"),
    ] = None
    strategy: Annotated[
        list[str], Option("ways of splitting; all without, combined ones too", names="strategy")
    ] = field(default_factory=list)
    schedule: Annotated[
        list[Literal["gpipe", "1f1b", "interleaved"]], Option("schedules of a pipeline")
    ] = field(default_factory=lambda: ["gpipe", "1f1b", "interleaved"])
    micro_batches: Annotated[
        Annotated[int, Ge(1)] | None,
        Option("passes a step of one replica; every number that fits without", example="8"),
    ] = None
    recompute: Annotated[
        list[Literal["none", "full"]], Option("keep activations, or recompute whole blocks")
    ] = field(default_factory=lambda: ["none"])
    sharding: Annotated[
        list[Literal["none", "states", "all"]],
        Option("shard nothing, optimiser states (ZeRO 1), or parameters too (ZeRO 3, FSDP)"),
    ] = field(default_factory=lambda: ["none", "all"])
    interconnect: Annotated[
        Annotated[float, Gt(0)] | None,
        Option("bytes a second between nodes a device, instead of the table's: 25e9",
               example="25e9"),
    ] = None
    python: Annotated[dict[str, str], Option(INTERPRETERS)] = field(default_factory=dict)
