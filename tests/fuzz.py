"""Coverage-guided fuzz of the readers and the options: ``make fuzz SECONDS=300``.

    python -m tests.fuzz [libFuzzer's options, such as -max_total_time=60]

atheris mutates what it is given towards code that was not reached before. It begins from files of
the sample and from pytest-benchmark's layout; hypothesis builds what has a structure.
"""

from __future__ import annotations

import json
import sys
import tempfile
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import atheris

with atheris.instrument_imports(include=["suite.runfolder", "suite.config", "suite.launch.inputs"]):
    from suite.config.model import RunConfig
    from suite.config.resolution import read_toml
    from suite.config.validation import validate
    from suite.contract.errors import UsageError
    from suite.contract.workloads import find_workload
    from suite.launch.inputs import load_data
    from suite.runfolder.pytest_benchmark import import_rows
    from suite.runfolder.run_file import check_run
    from suite.runfolder.tables import read_fits, read_probes
    from suite.runfolder.validated import read_json

from hypothesis import given, settings

from tests.runfolder.test_fuzz import FILE, JSON, options

ROOT = Path(__file__).resolve().parent.parent
FOLDER = Path(tempfile.mkdtemp(prefix="suite-fuzz-"))


def _read(name: str, content: bytes, read: Callable[[Path], object]) -> None:
    path = FOLDER / name
    path.write_bytes(content)
    with suppress(UsageError):
        read(path)


READERS: list[tuple[str, Callable[[Path], object]]] = [
    ("benchmarks.json", import_rows),
    ("run.json", lambda path: check_run(path, read_json(path, "RUN"))),
    ("options.toml", read_toml),
    ("link_fit.csv", lambda path: read_fits(path.parent)),
    ("frontier.csv", lambda path: read_probes(path.parent)),
    ("arrays.npz", lambda path: load_data(find_workload("mlp", "tiny"), str(path), 0)),
]


@settings(deadline=None, database=None)
@given(content=FILE | JSON)
def benchmarks(content: Any) -> None:
    _read("benchmarks.json", json.dumps(content).encode(), import_rows)


@settings(deadline=None, database=None)
@given(asked=options(RunConfig))
def configuration(asked: dict[str, Any]) -> None:
    with suppress(UsageError):
        validate(RunConfig, asked)


STRUCTURED = [benchmarks.hypothesis.fuzz_one_input,  # type: ignore[attr-defined]
              configuration.hypothesis.fuzz_one_input]  # type: ignore[attr-defined]


def one_input(data: bytes) -> None:
    """The first byte chooses a reader; the others are what it reads."""
    if not data:
        return
    number = data[0] % (len(READERS) + len(STRUCTURED))
    if number < len(READERS):
        _read(READERS[number][0], data[1:], READERS[number][1])
    else:
        STRUCTURED[number - len(READERS)](data[1:])


def seeds(folder: Path) -> None:
    """Files that are right, as a beginning."""
    sample = ROOT / "results" / "sample"
    benchmark = {"name": "a", "fullname": "b::a", "stats": {"data": [0.1]}, "extra_info": {}}
    found = [b"\x00" + json.dumps({"benchmarks": [benchmark]}).encode()]
    for number, (name, _) in enumerate(READERS):
        found += [bytes([number]) + path.read_bytes() for path in sample.glob(name)]
    found.append(b"\x02" + (ROOT / "docs" / "example.toml").read_bytes())
    for number, content in enumerate(found):
        (folder / f"seed-{number}").write_bytes(content)


if __name__ == "__main__":
    corpus = FOLDER / "corpus"
    corpus.mkdir()
    seeds(corpus)
    atheris.Setup([*sys.argv, str(corpus)], one_input)
    atheris.Fuzz()
