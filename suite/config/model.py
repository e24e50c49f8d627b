"""Declares every option of ``run``, ``ab`` and ``link`` once: type, bounds, default and meaning.

The command line, TOML files, environment variables and docs/options.md are made from these classes.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Annotated, Literal

from annotated_types import Ge, Gt, Lt, MinLen

from suite.config.option import Option
from suite.config.values import (
    check_cuts,
    check_speeds,
    parse_bytes,
    parse_duration,
    parse_share,
    parse_speeds,
)

# A proof takes ten steps, and judging whether steps are steady takes two windows of ten.
LEAST_WARMUP = 20
# With fewer than six pairs a ratio has no exact 95 % interval.
LEAST_BLOCKS = 6
INTERPRETERS = ("interpreter of a framework that has an environment of its own: "
                "FRAMEWORK=INTERPRETER; a .venv-FRAMEWORK beside this .venv needs no option")


def own_frameworks() -> list[str]:
    """Returns the names of the project's own adapters.

    It is called when a configuration is made, not when an option is described, so that ``--help``
    need not look for adapters.
    """
    from suite.contract import registry

    return list(registry.own())


@dataclass(frozen=True)
class CaseConfig:
    """The options that describe a case."""

    framework: Annotated[
        list[str], MinLen(1),
        Option("frameworks of the matrix", names="framework", heading="What is trained, and where"),
    ] = field(default_factory=own_frameworks)
    strategy: Annotated[
        list[str], MinLen(1),
        Option("ways of splitting; + combines them on a mesh: data+intra_layer; auto looks at all, "
               "runs the best few and chooses", names="strategy"),
    ] = field(default_factory=lambda: ["single", "data", "intra_layer", "inter_layer"])
    variant: Annotated[
        list[str],
        Option("of data: default, zero1, zero2, fsdp, fp16, bf16, multi_worker, short_cycle, "
               "long_cycle, small_fusion, autotuned; of inter_layer: "
               "gpipe, 1f1b, naive, interleaved", names="variant"),
    ] = field(default_factory=list)
    workload: Annotated[
        list[str], MinLen(1),
        Option("mlp, gpt, bert, xlnet, resnet, efficientnet, or package.module:object",
               names="workload"),
    ] = field(default_factory=lambda: ["mlp"])
    size: Annotated[
        str, Option("size of the workloads; by default small, and wide for mlp", names="size")
    ] = ""
    data: Annotated[
        str, Option("real, synthetic, or FILE.npz with arrays features and targets")
    ] = "real"
    mesh: Annotated[
        list[str],
        Option("sizes of a combined strategy's axes: data=2,intra_layer=2; may be repeated, and is "
               "balanced by default", commas=False),
    ] = field(default_factory=list)
    batch: Annotated[
        Annotated[int, Ge(1)] | None,
        Option("samples that all devices share in a step; by default the workload's own number; "
               "with --scaling weak, samples of one device",
               example="256"),
    ] = None
    devices: Annotated[
        list[Annotated[int, Ge(1)]], MinLen(1),
        Option("how many devices share a step: 2, or a list of numbers: 2,4,8"),
    ] = field(default_factory=lambda: [2])
    scaling: Annotated[
        list[Literal["strong", "weak"]], MinLen(1),
        Option("what stays the same as devices are added: strong keeps the batch of a step, weak "
               "the batch of a device; strong,weak runs both", names="scaling"),
    ] = field(default_factory=lambda: ["strong"])
    device: Annotated[
        Literal["auto", "cpu", "cuda"],
        Option("auto, cpu or cuda; auto takes GPUs if there are enough"),
    ] = "auto"
    transport: Annotated[
        list[Literal["tcp", "rdma"]],
        Option("network between hosts: tcp, rdma, or both to compare them; by default what the "
               "framework's library chooses", names="transport"),
    ] = field(default_factory=list)
    dtype: Annotated[
        list[Literal["float32", "tf32", "bf16"]], MinLen(1),
        Option("number formats: float32, bf16, tf32 (GPUs); each is proven in float32 first",
               names="dtype"),
    ] = field(default_factory=lambda: ["float32"])
    mode: Annotated[
        list[Literal["eager", "compiled"]], MinLen(1),
        Option("eager, compiled (torch.compile, XLA)", names="mode"),
    ] = field(default_factory=lambda: ["eager"])
    oversubscribe: Annotated[
        bool, Option("let ranks share a GPU, over gloo; such rows get no speedup")
    ] = False
    accumulate: Annotated[
        list[Annotated[int, Ge(1)]], MinLen(1),
        Option("how many micro-batches' gradients a device adds up before it updates"),
    ] = field(default_factory=lambda: [1])
    recompute: Annotated[
        list[Literal["none", "blocks"]], MinLen(1),
        Option("what the backward pass computes again instead of keeping it: none, blocks",
               names="recompute"),
    ] = field(default_factory=lambda: ["none"])
    padded: Annotated[
        list[Annotated[int, Ge(0)]], MinLen(1),
        Option("vocabularies padded to a multiple of 64 or 128, the loss unchanged; 0 for as "
               "they are"),
    ] = field(default_factory=lambda: [0])
    balance: Annotated[
        list[Literal["static", "dynamic"]], MinLen(1),
        Option("shares of the batch, and stages of a pipeline: static as planned, or dynamic, "
               "following busy times",
               names="balance"),
    ] = field(default_factory=lambda: ["static"])
    start: Annotated[
        Literal["auto", "fresh", "forked"],
        Option("ranks as new processes (fresh), or forked from one that has imported the "
               "framework, a new one each block; auto forks eager cases on CPU devices"),
    ] = "auto"
    device_speeds: Annotated[
        Literal["measured"] | list[float],
        Option("relative speeds of the devices, by which work is divided: 1,0.5 or measured",
               parse=parse_speeds, check=check_speeds),
    ] = field(default_factory=list)
    cut: Annotated[
        list[str],
        Option("how many units of the model each stage of a pipeline has: 3,1; may be repeated; "
               "without it stages have equal FLOPs", commas=False, check=check_cuts),
    ] = field(default_factory=list)
    python: Annotated[
        dict[str, str], Option(INTERPRETERS, example='{horovod = "/opt/hvd/bin/python"}')
    ] = field(default_factory=dict)


@dataclass(frozen=True)
class MeasureConfig(CaseConfig):
    """The options that say how cases are measured, besides those that describe them."""

    steps: Annotated[
        int, Ge(1), Option("measured steps of a launch", heading="How long")
    ] = 20
    warmup: Annotated[
        int, Ge(LEAST_WARMUP), Option("at most so many steps before the measured ones; 20 or more")
    ] = 50
    repeats: Annotated[
        int, Ge(1),
        Option("at most so many launches of a case; 30 if precision or budget is given"),
    ] = 3
    precision: Annotated[
        Annotated[float, Gt(0), Lt(1)] | None,
        Option("stop a case once its intervals are within this half-width: 3%", parse=parse_share,
               example='"3%"'),
    ] = None
    budget: Annotated[
        Annotated[float, Gt(0)] | None,
        Option("start no block that would end later than: 90s, 20m, 1.5h", parse=parse_duration,
               example='"20m"'),
    ] = None
    timeout: Annotated[
        float, Gt(0),
        Option("seconds a launch may take; more where a large model's steps need more"),
    ] = 120.0
    proof_timeout: Annotated[
        float, Gt(0),
        Option("seconds a reference may take; a model that needs more is proven by its first "
               "layers"),
    ] = 600.0
    proof_memory: Annotated[
        Annotated[int, Ge(1)] | None,
        Option("what a reference may hold: 64GiB; without, what the machine or the GPU has",
               parse=parse_bytes, example='"64GiB"'),
    ] = None
    seed: Annotated[
        int, Ge(0),
        Option("seed of weights, batches and the order within a block"),
    ] = 0
    probes: Annotated[
        int, Ge(0),
        Option("how many launches of a case have probes", heading="What probes see"),
    ] = 2
    probe_steps: Annotated[
        int, Ge(1), Option("steps of each pass with probes, at least")
    ] = 5
    probe_precision: Annotated[
        float, Ge(0), Lt(1),
        Option("time more steps, up to 40, until T_comm transfer is known to this half-width: 10%; "
               "0 for no more", parse=parse_share),
    ] = 0.1
    timeline: Annotated[bool, Option("keep the profiler's trace of the first launch")] = False


@dataclass(frozen=True)
class ClusterConfig:
    """The hosts that devices are on, and what starts processes there."""

    launcher: Annotated[
        Literal["local", "mpirun", "slurm", "horovodrun", "ray", "torchrun"],
        Option("what starts processes on other hosts: mpirun, slurm, horovodrun, ray, or torchrun, "
               "which has started this command on each host; local uses this machine alone",
               heading="Several hosts"),
    ] = "local"
    hosts: Annotated[
        list[str],
        Option("hosts with their devices: node1:4,node2:4, or a host file; without it "
               "those of Slurm's job, of Ray's cluster, or of torchrun"),
    ] = field(default_factory=list)


@dataclass(frozen=True)
class RunConfig(ClusterConfig, MeasureConfig):
    """The options of ``run``: its matrix, and how it is measured."""

    finalists: Annotated[
        int, Ge(1),
        Option("of all ways that --strategy auto looks at, how many it runs besides plain data "
               "parallelism and one device", heading="The answer"),
    ] = 4
    leader_repeats: Annotated[
        int, Ge(0),
        Option("launches, at most, of the cases that may still be the fastest once all have "
               "--repeats; 0 for no more"),
    ] = 0
    link: Annotated[
        bool, Option("measure the links first, to predict T_comm", heading="The links")
    ] = True
    find_max_batch: Annotated[
        bool,
        Option("afterwards search each cell's largest batch",
               heading="The largest batch that fits"),
    ] = False
    memory_limit: Annotated[
        Annotated[int, Ge(1)] | None,
        Option("memory of a device in that search: 512MiB, 2GiB; by default the machine's room",
               parse=parse_bytes, example='"2GiB"'),
    ] = None
    batch_resolution: Annotated[
        float, Gt(0), Lt(1),
        Option("how exact that search is, as a share of the batch: 5%", parse=parse_share),
    ] = 0.05


@dataclass(frozen=True)
class SideConfig(CaseConfig):
    """The options that describe one side of ``ab``, which is a single case."""

    engine: Annotated[
        str, Option("engine of a framework that has several, such as horovod: torch, tensorflow")
    ] = ""


@dataclass(frozen=True)
class AbConfig(MeasureConfig, SideConfig):
    """The options of ``ab``: the case that both sides start from, and how both are measured."""

    repeats: Annotated[
        int, Ge(LEAST_BLOCKS),
        Option("at most so many blocks, 6 or more; 30 if precision or budget is given"),
    ] = 12
    precision: Annotated[
        float, Gt(0), Lt(1),
        Option("stop once the ratio's interval has this half-width: 1%", parse=parse_share),
    ] = 0.01
    probes: Annotated[
        int, Ge(0),
        Option("how many blocks have probes; 6 give T_comm an exact interval",
               heading="What probes see"),
    ] = LEAST_BLOCKS
