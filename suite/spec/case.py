"""One cell of the matrix, and what a rank is told about it."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path

from suite.spec.workloads import Workload, find_workload

SCHEMA_VERSION = 1
PARITY_STEPS = 10


@dataclass(frozen=True)
class Case:
    """A framework, an engine, a strategy and a workload on a number of devices."""

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

    @property
    def case_id(self) -> str:
        """Folder-safe name, unique in a run."""
        name = self.framework if self.framework != "horovod" else f"horovod-{self.engine}"
        strategy = f"{self.strategy}-{self.variant}" if self.variant else self.strategy
        return f"{name}.{strategy}.{self.workload}-{self.size}.{self.device}{self.devices}"

    @property
    def spec(self) -> Workload:
        return find_workload(self.workload, self.size)

    def write(self, path: Path) -> None:
        path.write_text(json.dumps({"schema_version": SCHEMA_VERSION, **asdict(self)}, indent=1))

    @classmethod
    def read(cls, path: Path) -> Case:
        fields = json.loads(path.read_text())
        fields.pop("schema_version")
        return cls(**fields)


@dataclass(frozen=True)
class Rank:
    """Which worker this is; one process may drive all of a case's devices."""

    index: int
    processes: int
    folder: Path
