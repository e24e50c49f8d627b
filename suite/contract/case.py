"""A case, which is one cell of the matrix, and what each of its worker processes is told."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from suite.contract.registry import label, traits_of
from suite.contract.splits.batches import planned_shares, statistics_groups
from suite.contract.splits.mesh import Mesh, mesh_of, mesh_shape, mesh_text
from suite.contract.splits.schedule import micro_batches
from suite.contract.splits.stages import stage_count, stage_units
from suite.contract.splits.strategies import COMPRESSIONS
from suite.contract.traits import LOGICAL_DEVICES
from suite.contract.workloads import Workload, find_workload, sized_workload

SCHEMA_VERSION = 2
# So many first steps of every launch are compared with the reference.
PARITY_STEPS = 10
DTYPES, MODES = ("float32", "tf32", "bf16"), ("eager", "compiled")
# What of the forward pass is computed again in the backward pass instead of being kept.
RECOMPUTES = (NO_RECOMPUTE, BLOCKS) = ("none", "blocks")
# Whether shares of a batch and cuts of a model stay as planned or follow what devices show.
BALANCES = (STATIC, DYNAMIC) = ("static", "dynamic")
# Whether each rank is a new process, or a fork of one that has imported the framework.
STARTS = (FRESH, FORKED) = ("fresh", "forked")
# Whether a step keeps the global batch as devices are added, or the batch of a device.
SCALINGS = (STRONG, WEAK) = ("strong", "weak")
# Networks between hosts that a run can ask for, where the library would choose by itself.
TRANSPORTS = (TCP, RDMA) = ("tcp", "rdma")


@dataclass(frozen=True)
class Case:
    """A workload that one framework and engine trains with one strategy on a number of devices.

    Attributes:
        framework: Name of the adapter.
        engine: Which of the adapter's engines computes.
        strategy: ``single``, ``data``, ``intra_layer`` or ``inter_layer``, or several joined by
            ``+``.
        variant: Variant of the strategy, such as ``gpipe``; empty for the plain one.
        workload: Name of the workload.
        size: Size of the workload.
        data: ``real``, ``synthetic``, or where a file with data is.
        device: ``cpu`` or ``cuda``.
        devices: Number of devices in all.
        dtype: Number format: float32, tf32 or bf16; a reference also has float64.
        mode: ``eager`` or ``compiled``.
        steps: Clean steps that a launch measures.
        seed: Seed of the initial weights and of the data.
        probe_steps: Steps of the silent pass, and the fewest timed ones; 0 for clean steps alone.
        warmup_limit: The most steps before the first measured step.
        timeline: Whether to keep the profiler's timeline.
        interface: Network interface that gloo uses.
        statistics_groups: Only of a reference on one device: into how many equal contiguous parts
            it cuts a batch, which pass through the model in turn; gradients are of the mean loss.
        mesh: Sizes of a combined strategy's axes, such as ``data=2,intra_layer=2``.
        global_batch: Samples in a step over all devices; 0 stands for the workload's own.
        memory_limit_bytes: What a GPU's allocator may hold for one device; 0 for no limit.
        oversubscribe: Whether several ranks share a GPU and talk over gloo.
        device_speeds: Relative speed of each device, where shares or stages are planned by speed.
        accumulate: Number of micro-batches whose gradients a device adds up, one after another,
            before the one update of a step. A pipeline's micro-batches are multiplied by it.
        hosts: How many hosts the devices are on.
        depth: Number of units of the shallower model that proves a large one; 0 for the whole
            model.
        proof_arrays: Whether the first steps leave gradients and parameters, and not only losses.
        recompute: With ``blocks`` a device keeps only what enters each unit of the model, and
            computes the inside again in the backward pass.
        balance: With ``dynamic`` shares of replicas, or cuts, begin as planned and follow busy
            times.
        start: Whether ranks are new processes, ``fresh``, or may be ``forked`` from a warm one.
        padded: What the vocabulary is padded to a multiple of; 0 leaves it as it is.
        scaling: With ``weak`` the global batch has grown with the number of devices. A single
            device, on which nothing has grown yet, is ``strong``.
        transport: Network between hosts, ``tcp`` or ``rdma``; empty for what the library chooses.
        cut: Number of the model's units in each stage of a pipeline; empty to balance FLOPs.
        probe_precision: More steps are timed until T_comm transfer is known to this half-width; 0
            for no more.
    """

    framework: str
    engine: str
    strategy: str
    variant: str
    workload: str
    size: str
    data: str
    device: str
    devices: int
    dtype: str = "float32"
    mode: str = "eager"
    steps: int = 20
    seed: int = 0
    probe_steps: int = 5
    warmup_limit: int = 50
    timeline: bool = False
    interface: str = "lo"
    statistics_groups: int = 1
    mesh: str = ""
    global_batch: int = 0
    memory_limit_bytes: int = 0
    oversubscribe: bool = False
    device_speeds: tuple[float, ...] = ()
    accumulate: int = 1
    hosts: int = 1
    depth: int = 0
    proof_arrays: bool = True
    recompute: str = NO_RECOMPUTE
    balance: str = STATIC
    start: str = FRESH
    padded: int = 0
    scaling: str = STRONG
    transport: str = ""
    cut: tuple[int, ...] = ()
    probe_precision: float = 0.0

    def __post_init__(self) -> None:
        for name in ("device_speeds", "cut"):  # JSON has lists
            object.__setattr__(self, name, tuple(getattr(self, name)))

    @cached_property
    def case_id(self) -> str:
        """A name of the case that is unique in a run and fit for a folder."""
        name = label(self.framework, self.engine).replace("/", "-")
        strategy = f"{self.strategy}-{self.variant}" if self.variant else self.strategy
        count = mesh_shape(mesh_text(self.strategy, self.axes)) or self.devices
        planned = "-".join(f"{speed:g}" for speed in self.device_speeds)
        speeds = f".speeds-{planned}" if planned else ""
        # float32 and eager are the usual settings, and only a reference has float64: the name
        # leaves them out.
        parts = (self.dtype, self.mode)
        kind = "".join(f".{part}" for part in parts if part in (*DTYPES[1:], *MODES[1:]))
        if self.accumulate > 1:
            kind += f".accumulate{self.accumulate}"
        if self.hosts > 1:
            kind += f".hosts{self.hosts}"
        if self.recomputes:
            kind += f".recompute-{self.recompute}"
        if self.balances:
            kind += f".balance-{self.balance}"
        if self.scaling != STRONG:
            kind += f".{self.scaling}"
        if self.transport:
            kind += f".{self.transport}"
        if self.cut:
            kind += f".cut-{'-'.join(map(str, self.cut))}"
        return f"{name}.{strategy}.{self.workload_id}.{self.device}{count}{speeds}{kind}"

    @property
    def shown_cut(self) -> str:
        """Units of each stage as ``--cut`` takes them, such as ``3,1``; empty if balanced."""
        return ",".join(map(str, self.cut))

    @property
    def recomputes(self) -> bool:
        """Whether the backward pass computes units of the model again."""
        return self.recompute != NO_RECOMPUTE

    @property
    def balances(self) -> bool:
        """Whether shares of the batch, or stages, may change during training."""
        return self.balance != STATIC

    @property
    def planned_shares(self) -> tuple[int, ...]:
        """Samples of the global batch that each replica has at the beginning of a training."""
        return planned_shares(self.spec.global_batch, self.axes.size("data"), self.device_speeds)

    @property
    def placed(self) -> bool:
        """Whether one process drives all devices, which then exchange tensors by copies."""
        return traits_of(self.framework).placement == LOGICAL_DEVICES

    @property
    def activation_bytes(self) -> int:
        """Bytes of one element of an activation that travels between devices."""
        return 2 if self.dtype in traits_of(self.framework).low_activations else 4

    @property
    def core_rate_applies(self) -> bool:
        """Whether the float32 rate of a CPU core, from the calibration, is a peak for this case."""
        return self.device == "cpu" and self.dtype == "float32"

    @property
    def strict(self) -> Case:
        """The same case in float32, gradients included; it proves a case that rounds more."""
        variant = "" if self.compression else self.variant
        return replace(self, dtype="float32", variant=variant)

    @property
    def compression(self) -> str:
        """The 16-bit format in which gradients are sent; empty if they are sent as they are."""
        return self.variant if self.variant in COMPRESSIONS else ""

    @property
    def axes(self) -> Mesh:
        """The devices arranged as a mesh, with one axis for each part of the strategy."""
        return mesh_of(self.strategy, self.devices, self.mesh)

    @property
    def workload_id(self) -> str:
        """A folder-safe name of workload and size, and of what differs from its defaults."""
        name = f"{self.workload.replace(':', '-')}-{self.size}"
        own = find_workload(self.workload, self.size).global_batch
        if self.global_batch not in (0, own):
            name += f"-batch{self.global_batch}"
        if self.padded:
            name += f"-padded{self.padded}"
        return f"{name}-depth{self.depth}" if self.depth else name

    @property
    def spec(self) -> Workload:
        """The workload, with the global batch, the depth and the padding of this case."""
        return sized_workload(self.workload, self.size, self.global_batch, self.depth, self.padded)

    @property
    def groups(self) -> int:
        """Into how many parts a global batch is cut within which samples influence each other.

        It is 1 for workloads without batch statistics.
        """
        return statistics_groups(
            self.spec, self.strategy, self.variant, self.devices, self.mesh, self.accumulate
        )

    @property
    def micro_batches(self) -> int:
        """Micro-batches in a step of one replica, for a pipeline."""
        return micro_batches(self.variant, self.axes.size("inter_layer"), self.accumulate)

    @property
    def pass_batch(self) -> int:
        """Samples that all devices together pass through the model at a time, if not a pipeline."""
        return self.spec.global_batch // self.accumulate

    @property
    def stages(self) -> int:
        """Number of pipeline stages; 1 without a pipeline."""
        return stage_count(self.variant, self.axes.size("inter_layer"))

    @property
    def stage_speeds(self) -> tuple[float, ...]:
        """Relative speed of the device of each stage; devices take the stages in turns."""
        return self.device_speeds * (self.stages // self.axes.size("inter_layer"))

    @property
    def planned_cut(self) -> tuple[int, ...]:
        """Units of each stage of a pipeline at the beginning of a training."""
        groups = stage_units(self.spec, self.stages, self.stage_speeds, self.cut)
        return tuple(map(len, groups))

    @property
    def reference_id(self) -> str:
        """A folder-safe name of the float64 reference that this case is compared with."""
        parts = f".groups{self.groups}" if self.groups > 1 else ""
        return f"{self.workload_id}{parts}"

    def write(self, path: Path) -> None:
        """Writes the case as JSON, for its worker processes."""
        content = {"schema_version": SCHEMA_VERSION, **asdict(self)}
        path.write_text(json.dumps(content, indent=1), encoding="utf-8")

    @classmethod
    def stored(cls, values: Mapping[str, Any]) -> Case:
        """Makes a case from what another release of the suite may have written.

        Args:
            values: Field to value. Fields that this release does not know are left out; fields
                that are missing keep their defaults.
        """
        known = {field.name for field in fields(cls)}
        return cls(**{name: value for name, value in values.items() if name in known})

    @classmethod
    def read(cls, path: Path) -> Case:
        """Reads a case from the file that ``write`` made."""
        values = json.loads(path.read_text(encoding="utf-8"))
        values.pop("schema_version")
        return cls(**values)  # fields that an older release did not write keep their defaults


@dataclass(frozen=True)
class Rank:
    """One worker process of a case; it may drive one device or all of them.

    Attributes:
        index: Number of the process, from 0.
        processes: Number of processes in all.
        folder: Folder of the launch's files.
    """

    index: int
    processes: int
    folder: Path
