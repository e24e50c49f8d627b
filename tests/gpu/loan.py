"""Everything that a machine with one GPU has to show, in minutes that count: ``make gpu-loan``.

    python3 -m tests.gpu.loan [--device cpu] [--only PART,...] [--seconds 480] [--out FOLDER]

Each part is a process of its own with a bound of its own, writes what it found as it goes, and is
not made again once it has ended; so the next call goes on where time ran out. ``--only`` makes the
named parts, again if need be. ``--device cpu`` is the short form: tiny models, to try this program.

It needs Python and, for what it measures, torch. Pure Python and small packages that the machine
lacks are taken from ``.gpu-packages``, which ``make gpu-packages`` fills elsewhere; nothing is
downloaded. What a part cannot do here it says, and the others go on.
"""

from __future__ import annotations

import argparse
import csv
import importlib.util
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
import zipfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = ROOT / ".gpu-packages"
NEEDED = ("pydantic", "typer", "rich", "jinja2", "psutil", "filelock", "scipy", "numpy", "pytest")
# A part that has less time than this left is not begun.
LEAST_SECONDS = 20.0
RUN = ["-m", "suite", "run", "--framework", "pytorch", "--repeats", "1", "--no-link", "--quiet",
       "--data", "synthetic"]
BIG = ["--steps", "20", "--warmup", "20", "--probes", "1", "--probe-steps", "2",
       "--probe-precision", "0", "--proof-timeout", "15"]
SHARED_NCCL = {"NCCL_MULTI_RANK_GPU_ENABLE": "1"}
# Least MFU of gpt3-xl in bf16, compiled: of the datasheet, and of the measured matrix product.
OF_DATASHEET, OF_MEASURED, BESIDE_PLAIN = 0.50, 0.60, 1.00


@dataclass(frozen=True)
class Part:
    """One process: what it is called, its arguments after the interpreter, and its bound."""

    name: str
    title: str
    arguments: Sequence[str]
    seconds: float
    variables: dict[str, str] = field(default_factory=dict)
    torch: bool = True


def parts(device: str) -> list[Part]:
    """The parts in the order of their worth, so that what runs out of time is worth least."""
    here = ["--device", device]
    if device == "cpu":
        return [
            _doctor(),
            Part("tiny", "gpt tiny: single, data, fsdp", [
                *RUN, *here, *_tiny("gpt"), "--strategy", "single,data", "--variant",
                "default,fsdp", "--devices", "1", "--dtype", "float32,bf16", "--timeline"], 300),
            Part("prefix", "a model too large for float64", [
                *RUN, *here, *_tiny("gpt"), "--strategy", "single", "--devices", "1",
                "--proof-memory", "8MiB"], 150),
            Part("beside-gpt", "beside a plain loop", _pair("gpt:tiny:0", device), 150),
            # Built it would be in minutes, which its compilers have of a machine with more cores.
            Part("horovod", "Horovod's sdist, configured", [
                "-m", "tests.gpu.build", "--configure"], 120),
        ]
    return [
        _doctor(),
        Part("tiny", "gpt tiny: single, data, fsdp in three formats", [
            *RUN, *here, *_tiny("gpt"), "--strategy", "single,data", "--variant", "default,fsdp",
            "--devices", "1", "--dtype", "float32,tf32,bf16", "--timeline"], 150),
        Part("gpt3-xl", "GPT-3 XL, bf16, compiled", [
            *RUN, *here, *BIG, "--workload", "gpt", "--size", "gpt3-xl", "--batch", "4",
            "--padded", "128", "--strategy", "single", "--devices", "1", "--dtype", "bf16",
            "--mode", "compiled", "--timeout", "170"], 200),
        Part("beside-gpt2", "GPT-2 beside a plain loop", _pair("gpt:gpt2:0", device), 90),
        Part("beside-gpt3-xl", "GPT-3 XL beside a plain loop", _pair("gpt:gpt3-xl:4", device), 150),
        Part("gpt2", "GPT-2 124M and 355M, eager and compiled", [
            *RUN, *here, *BIG, "--workload", "gpt", "--size", "gpt2-medium", "--strategy", "single",
            "--devices", "1", "--dtype", "bf16", "--mode", "eager,compiled"], 180),
        Part("shared", "two ranks on one GPU over gloo", [
            *RUN, *here, *_tiny("gpt"), "--strategy", "data", "--devices", "2",
            "--oversubscribe", "--dtype", "float32,bf16"], 90),
        Part("shared-nccl", "two ranks on one GPU over NCCL", [
            *RUN, *here, *_tiny("gpt"), "--strategy", "data", "--devices", "2", "--oversubscribe"],
            60, SHARED_NCCL),
        Part("others", "resnet and mlp", [
            *RUN, *here, "--steps", "10", "--workload", "mlp,resnet", "--strategy", "single",
            "--devices", "1", "--dtype", "float32,bf16"], 120),
        Part("beside-resnet", "ResNet-50 beside a plain loop", _pair("resnet:50:0", device), 90),
        _horovod(),
    ]


def _tiny(workload: str) -> list[str]:
    return ["--workload", workload, "--size", "tiny", "--steps", "5", "--warmup", "20",
            "--probe-steps", "2"]


def _pair(named: str, device: str) -> list[str]:
    return ["-m", "tests.gpu", "--device", device, "--pair", named]


def _doctor() -> Part:
    return Part("doctor", "the machine", ["-m", "suite", "doctor"], 60, torch=False)


def _horovod() -> Part:
    return Part("horovod", "Horovod from its sdist, built here", ["-m", "tests.gpu.build"], 600)


def main() -> int:
    """Makes the parts that are left; returns 0 if all have been made and none failed."""
    parser = argparse.ArgumentParser(prog="python3 -m tests.gpu.loan")
    parser.add_argument("--device", choices=["cuda", "cpu"], default="cuda")
    parser.add_argument("--only", default="", help="parts, comma-separated")
    parser.add_argument("--seconds", type=float, default=480.0, help="that all parts may take")
    parser.add_argument("--out", type=Path, default=ROOT / "results" / "gpu-loan")
    asked = parser.parse_args()
    chosen = parts(asked.device)
    only = [name for name in asked.only.split(",") if name]
    if unknown := sorted(set(only) - {part.name for part in chosen}):
        print(f"--only {', '.join(unknown)}: expected {', '.join(p.name for p in chosen)}",
              file=sys.stderr)
        return 2
    out = asked.out / asked.device
    out.mkdir(parents=True, exist_ok=True)
    with equipped() as environment:
        _make(chosen, only, out, time.monotonic() + asked.seconds, environment)
    print(table(chosen, out))
    ended = [outcome_of(out, part) for part in chosen]
    return 0 if all(one and one["status"] in ("ok", "cannot") for one in ended) else 1


@contextmanager
def equipped() -> Iterator[dict[str, str]]:
    """The environment of the parts, with the carried packages that this interpreter lacks."""
    missing = [name for name in NEEDED if importlib.util.find_spec(name) is None]
    with tempfile.TemporaryDirectory(prefix="gpu-loan") as folder:
        paths = [str(ROOT), *([folder] if missing else []), os.environ.get("PYTHONPATH", "")]
        if missing:
            unpack(Path(folder))
            still = [name for name in missing if not any(Path(folder).glob(f"{name}*"))]
            print(f"from {PACKAGES.name}: {', '.join(sorted(set(missing) - set(still)))}"
                  + (f"; not there: {', '.join(still)} (make gpu-packages)" if still else ""))
        yield os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, paths))}


def unpack(folder: Path) -> None:
    """Unpacks the carried wheels, which needs no pip: a wheel is an archive of its package.

    What this interpreter has already it keeps: a second numpy would not fit its torch.
    """
    for wheel in sorted(PACKAGES.glob("*.whl")):
        name = wheel.name.partition("-")[0].lower()
        if importlib.util.find_spec({"nvidia_ml_py": "pynvml"}.get(name, name)) is None:
            with zipfile.ZipFile(wheel) as archive:
                archive.extractall(folder)


def _make(
    chosen: Sequence[Part], only: Sequence[str], out: Path, until: float,
    environment: dict[str, str],
) -> None:
    for part in chosen:
        if (part.name not in only) if only else (outcome_of(out, part) is not None):
            continue
        left = until - time.monotonic()
        if left < LEAST_SECONDS:
            print(f"{part.name}: no time left, the next call makes it", flush=True)
            continue
        outcome = make(part, out / part.name, min(part.seconds, left), environment)
        print(f"{part.name}: {outcome['status']} in {outcome['seconds']:.0f} s "
              f"{outcome['reason']}", flush=True)
        (out / "table.txt").write_text(table(chosen, out) + "\n")


def make(part: Part, folder: Path, seconds: float, environment: dict[str, str]) -> dict[str, Any]:
    """Runs one part to its end or its bound, and keeps how it ended.

    Args:
        part: The part.
        folder: Its results; what an earlier attempt left there is removed.
        seconds: When the process and all that it started are ended.
        environment: Of the process, before the part's own variables.

    Returns:
        ``status``: ok, failed, timeout, or cannot where this machine lacks what it needs.
    """
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    began = time.monotonic()
    if part.torch and importlib.util.find_spec("torch") is None:
        status, reason = "cannot", "torch is not installed"
    else:
        code = _run(part, folder, seconds, environment)
        status = {None: "timeout", 0: "ok", 3: "cannot"}.get(code, "failed")
        reason = "" if status == "ok" else _last_line(folder / "log.txt")
    outcome = {"status": status, "reason": reason, "seconds": time.monotonic() - began}
    (folder / "outcome.json").write_text(json.dumps(outcome))
    return outcome


def _run(part: Part, folder: Path, seconds: float, environment: dict[str, str]) -> int | None:
    """The exit code; None where the time was over first."""
    out = [] if part.name == "doctor" else ["--out", str(folder)]
    with (folder / "log.txt").open("w") as log:
        process = subprocess.Popen(
            [sys.executable, *part.arguments, *out], stdout=log, stderr=log, cwd=ROOT,
            env=environment | part.variables,
        )
        try:
            return process.wait(seconds)
        except subprocess.TimeoutExpired:
            # As a user ends a run: it ends its own ranks, and they die with it otherwise.
            process.terminate()
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()
            return None


def _last_line(log: Path) -> str:
    """What a log ends with, without the frames of tables."""
    text = log.read_text(encoding="utf-8", errors="replace")
    lines = [line.strip("│┃ ") for line in text.splitlines() if re.search(r"\w", line)]
    return re.sub(r"\s*[│┃]\s*", ", ", lines[-1])[:150] if lines else ""


def outcome_of(out: Path, part: Part) -> dict[str, Any] | None:
    """How a part ended; None where it has not been made."""
    path = out / part.name / "outcome.json"
    found: dict[str, Any] | None = json.loads(path.read_text()) if path.exists() else None
    return found


def table(chosen: Sequence[Part], out: Path) -> str:
    """All that the parts found so far, and what it should have been."""
    lines = [f"{'part':16}{'case':60}{'status':9}{'error':>7}{'step ms':>10}{'tokens/s':>10}"
             f"{'MFU':>7}{'sheet':>7}  proven by, or why not"]
    for part in chosen:
        outcome = outcome_of(out, part)
        lines += list(_lines(part, out / part.name, outcome)) if outcome else [
            f"{part.name:16}{part.title:60}to do"]
    timeline = next(out.glob("tiny/*/cases/*/launch-0/timeline-0.json"), None)
    if timeline:
        shutil.copyfile(timeline, out / "timeline.json")
        lines.append(f"timeline: {out / 'timeline.json'} (chrome://tracing, perfetto)")
    return "\n".join([*lines, *_targets(out)])


def _lines(part: Part, folder: Path, outcome: dict[str, Any]) -> Iterator[str]:
    rows = rows_of(folder)
    if not rows:
        pair = folder / "pair.txt"
        said = pair.read_text().strip() if pair.exists() else outcome["reason"]
        yield f"{part.name:16}{part.title:60}{outcome['status']:9}  {said}"
    for row in rows:
        figures = [
            _figure(row["parity_error"], "{:.2g}", 7),
            _figure(row["step_time_s"], "{:.2f}", 10, 1e3),
            _figure(row["throughput_tokens_s"], "{:.0f}", 10), _figure(row["mfu"], "{:.0%}", 7),
            _figure(row["mfu_datasheet"], "{:.0%}", 7),
        ]
        yield (f"{part.name:16}{row['case_id']:60}{row['status']:9}{''.join(figures)}  "
               f"{row['reason'] or row.get('proof', '')}"[:228])


def rows_of(folder: Path) -> list[dict[str, str]]:
    """The rows of a part's run, finished or not; empty of one that is no run."""
    tables = sorted(folder.glob("*/results.csv"))
    return list(csv.DictReader(tables[-1].open())) if tables else []


def _figure(text: str, form: str, width: int, scale: float = 1.0) -> str:
    return f"{form.format(scale * float(text)) if text else '':>{width}}"


def _targets(out: Path) -> Iterator[str]:
    """What has to be shown of a GPU, and whether it was."""
    for row in rows_of(out / "gpt3-xl"):
        for column, least in (("mfu_datasheet", OF_DATASHEET), ("mfu", OF_MEASURED)):
            if row[column]:
                met = "met" if float(row[column]) >= least else "MISSED"
                yield f"target: {column} of {row['case_id']} {float(row[column]):.1%}, "\
                    f"at least {least:.0%}: {met}"
    for pair in sorted(out.glob("beside-*/pair.json")):
        ratio = json.loads(pair.read_text())["ratio"]
        met = "met" if ratio >= BESIDE_PLAIN else "MISSED"
        yield f"target: {pair.parent.name} {ratio:.3f} of the plain loop's speed, "\
            f"at least {BESIDE_PLAIN:.2f}: {met}"


if __name__ == "__main__":
    raise SystemExit(main())
