"""One cell of the matrix, and what a rank is told about it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any

from suite.contract.registry import label, traits_of
from suite.contract.splits.batches import statistics_groups
from suite.contract.splits.mesh import Mesh, mesh_of, mesh_shape, mesh_text
from suite.contract.splits.schedule import micro_batches
from suite.contract.splits.stages import stage_count
from suite.contract.splits.strategies import COMPRESSIONS
from suite.contract.traits import LOGICAL_DEVICES
from suite.contract.workloads import Workload, find_workload, sized_workload

SCHEMA_VERSION = 2
PARITY_STEPS = 10
DTYPES, MODES = ("float32", "tf32", "bf16"), ("eager", "compiled")


@dataclass(frozen=True)
class Case:
    """A framework, an engine, a strategy and a workload on a number of devices.

    ``probe_steps`` is the length of each pass with probes, 0 for a launch of clean steps alone;
    ``warmup_limit`` bounds the steps before the first measured one; ``timeline`` keeps the
    profiler's picture; ``interface`` is the network interface that gloo uses. Of a single device
    that others are held against, ``statistics_groups`` is into how many equal contiguous parts it
    cuts a batch: one after the other passes through the model, and gradients are those of the mean
    of their losses. ``mesh`` gives the sizes of a combined strategy's axes.
    ``global_batch`` is samples a step over all devices, 0 the workload's own;
    ``memory_limit_bytes`` is what a GPU's allocator may hold for one device, 0 for all of it.
    ``device_speeds`` are relative, a device each, where shares and cuts are planned by them.
    ``accumulate`` is the number of micro-batches that a device adds up the gradients of, one after
    another, before the step's one update; a pipeline's are multiplied by it.
    ``dtype`` is float32, tf32, bf16 or, of a reference, float64. With ``oversubscribe`` several
    ranks share a GPU and talk over gloo. ``depth`` is the number of units of a shallower model that
    proves a large one, 0 of the whole model. Without ``proof_arrays`` the proof's steps leave their
    losses alone: no gradients and no parameters.
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
    depth: int = 0
    proof_arrays: bool = True

    def __post_init__(self) -> None:
        object.__setattr__(self, "device_speeds", tuple(self.device_speeds))  # JSON has lists

    @property
    def case_id(self) -> str:
        """Folder-safe name, unique in a run."""
        name = label(self.framework, self.engine).replace("/", "-")
        strategy = f"{self.strategy}-{self.variant}" if self.variant else self.strategy
        count = mesh_shape(mesh_text(self.strategy, self.axes)) or self.devices
        planned = "-".join(f"{speed:g}" for speed in self.device_speeds)
        speeds = f".speeds-{planned}" if planned else ""
        # Neither the usual ones nor a reference's float64 are named.
        parts = (self.dtype, self.mode)
        kind = "".join(f".{part}" for part in parts if part in (*DTYPES[1:], *MODES[1:]))
        if self.accumulate > 1:
            kind += f".accumulate{self.accumulate}"
        return f"{name}.{strategy}.{self.workload_id}.{self.device}{count}{speeds}{kind}"

    @property
    def placed(self) -> bool:
        """Whether one process drives all devices, which exchange tensors by copies."""
        return traits_of(self.framework).placement == LOGICAL_DEVICES

    @property
    def activation_bytes(self) -> int:
        """Bytes of an entry of an activation that travels between devices."""
        return 2 if self.dtype in traits_of(self.framework).low_activations else 4

    @property
    def core_rate_applies(self) -> bool:
        """Whether the calibration's float32 rate of a CPU core is a peak for this case."""
        return self.device == "cpu" and self.dtype == "float32"

    @property
    def strict(self) -> Case:
        """The same in float32, in what travels too: what a case that rounds is proven by first."""
        variant = "" if self.compression else self.variant
        return replace(self, dtype="float32", variant=variant)

    @property
    def compression(self) -> str:
        """The 16-bit format that gradients travel in; empty where they travel as they are."""
        return self.variant if self.variant in COMPRESSIONS else ""

    @property
    def axes(self) -> Mesh:
        """Its devices as a mesh, with an axis for each part of its strategy."""
        return mesh_of(self.strategy, self.devices, self.mesh)

    @property
    def workload_id(self) -> str:
        """Folder-safe name of the workload, its size, and a batch or depth that is not its own."""
        name = f"{self.workload.replace(':', '-')}-{self.size}"
        own = find_workload(self.workload, self.size).global_batch
        if self.global_batch not in (0, own):
            name += f"-batch{self.global_batch}"
        return f"{name}-depth{self.depth}" if self.depth else name

    @property
    def spec(self) -> Workload:
        """The workload with the global batch and the depth of the case."""
        return sized_workload(self.workload, self.size, self.global_batch, self.depth)

    @property
    def groups(self) -> int:
        """Parts of a global batch whose samples see each other here; 1 where none do."""
        return statistics_groups(
            self.spec, self.strategy, self.variant, self.devices, self.mesh, self.accumulate
        )

    @property
    def micro_batches(self) -> int:
        """Of a pipeline, in a step of one replica."""
        return micro_batches(self.variant, self.axes.size("inter_layer"), self.accumulate)

    @property
    def pass_batch(self) -> int:
        """Samples that devices without a pipeline pass through the model at once, together."""
        return self.spec.global_batch // self.accumulate

    @property
    def stages(self) -> int:
        """Of a pipeline; 1 where there is none."""
        return stage_count(self.variant, self.axes.size("inter_layer"))

    @property
    def stage_speeds(self) -> tuple[float, ...]:
        """Those of the devices that a pipeline's stages are on, which take them in turns."""
        return self.device_speeds * (self.stages // self.axes.size("inter_layer"))

    @property
    def reference_id(self) -> str:
        """Folder-safe name of the float64 reference that this case is held against."""
        parts = f".groups{self.groups}" if self.groups > 1 else ""
        return f"{self.workload_id}{parts}"

    def write(self, path: Path) -> None:
        """Writes the case as JSON, for the workers."""
        content = {"schema_version": SCHEMA_VERSION, **asdict(self)}
        path.write_text(json.dumps(content, indent=1), encoding="utf-8")

    @classmethod
    def stored(cls, values: Mapping[str, Any]) -> Case:
        """A case that another release may have written.

        Fields that are not known here are left out; fields that are missing keep their defaults.
        """
        known = {one.name for one in fields(cls)}
        return cls(**{name: value for name, value in values.items() if name in known})

    @classmethod
    def read(cls, path: Path) -> Case:
        """The case that ``write`` left in a file."""
        fields = json.loads(path.read_text(encoding="utf-8"))
        fields.pop("schema_version")
        return cls(**fields)  # fields an older version did not write keep their defaults


@dataclass(frozen=True)
class Rank:
    """Which worker this is; one process may drive all of a case's devices."""

    index: int
    processes: int
    folder: Path
