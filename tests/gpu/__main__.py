"""What one GPU can prove, as two tables: parity of every cell, and adapters beside plain loops.

    python -m tests.gpu [--device cpu]       on a CPU: the same steps, tiny, to try this program

First: the suite itself on one device, in every number format and compiled, and two ranks that share
the device over gloo, each held against float64. Then: GPT-2 124M, GPT-3 XL and ResNet-50 in bf16,
compiled, in one process beside a plain loop of the same model; ratio is the plain loop's step over
the adapter's, so above 1 the adapter is the faster. Exits with 1 where a cell is not proven.
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from suite.contract import gpus
from suite.contract.case import Case
from suite.machine.devices import gpu_count, gpu_names
from suite.machine.gpu_peaks import datasheet_flops
from tests.conftest import launch_case
from tests.reference.__main__ import compare

RUNS = {
    "one device": [
        "--framework", "pytorch,tensorflow", "--strategy", "single", "--size", "tiny",
        "--workload", "mlp,gpt,bert,xlnet,resnet,efficientnet", "--dtype", "float32,tf32,bf16",
    ],
    "compiled": [
        "--framework", "pytorch,tensorflow", "--strategy", "single", "--size", "tiny",
        "--workload", "gpt,resnet", "--dtype", "float32,bf16", "--mode", "compiled",
    ],
    "two ranks": [
        "--framework", "pytorch", "--strategy", "single,data", "--devices", "2", "--size", "tiny",
        "--workload", "mlp,gpt,resnet", "--dtype", "float32,bf16", "--oversubscribe",
    ],
}
SHORT = ["--repeats", "1", "--steps", "5", "--no-link", "--timeout", "300", "--quiet"]
# Workload, size and global batch (0: its own). Weights, gradients and moments of both sides are
# 42 GB of gpt3-xl, so with half of its batch the pair fits 80 GB.
PAIRS = {
    "cuda": [("gpt", "gpt2", 0), ("gpt", "gpt3-xl", 4), ("resnet", "50", 0)],
    "cpu": [("gpt", "tiny", 0)],
}
# Of each side; of the tiny model for CPUs more, whose steps take milliseconds.
STEPS = {"cuda": 24, "cpu": 240}


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.gpu")
    parser.add_argument("--device", choices=["cuda", "cpu"], default="cuda")
    parser.add_argument("--pair", help="this pair alone: gpt:gpt3-xl:4")
    parser.add_argument("--out", type=Path, help="where the pair is written, as JSON and a line")
    asked = parser.parse_args()
    device = asked.device
    if device == "cuda" and not gpu_count():
        print("no GPU here: nothing of this can be shown (--device cpu tries the program)",
              file=sys.stderr)
        return 2
    if asked.pair:
        return _pair(asked.pair, device, asked.out)
    proven = [_prove(title, options, device) for title, options in RUNS.items()]
    _beside(device)
    return 0 if all(proven) else 1


def _pair(named: str, device: str, out: Path | None) -> int:
    """One model beside its plain loop; returns 0 if both were measured."""
    workload, size, batch = named.split(":")
    printed = datasheet_flops(gpu_names()[0]) if device == "cuda" else {}
    line, ratio = _beside_one(_case(workload, size, int(batch), device), printed.get("bf16"))
    print(line)
    if out and ratio:
        (out / "pair.json").write_text(json.dumps({"ratio": ratio}))
        (out / "pair.txt").write_text(line)
    return 0 if ratio else 1


def _case(workload: str, size: str, batch: int, device: str) -> Case:
    return Case("pytorch", "torch", "single", "", workload, size, "synthetic", device, 1,
                dtype="bf16", mode="compiled", steps=STEPS[device], global_batch=batch)


def _prove(title: str, options: list[str], device: str) -> bool:
    # Ranks are to share one, also where there are more.
    seen = gpus.only(0) if "--oversubscribe" in options else {}
    with tempfile.TemporaryDirectory() as folder:
        chosen = [one for one in options if device == "cuda" or one != "--oversubscribe"]
        done = subprocess.run(
            [sys.executable, "-m", "suite", "run", *chosen, *SHORT, "--device", device,
             "--out", folder], check=False, env=os.environ | seen,
        )
        tables = list(Path(folder).glob("*/results.csv"))
        rows = list(csv.DictReader(tables[0].open())) if tables else []
    print(f"\n{title}\n{'case':58}{'status':12}{'error/gate':>11}{'step ms':>10}{'MFU':>7}")
    for row in rows:
        seconds = f"{1e3 * float(row['step_time_s']):.2f}" if row["step_time_s"] else ""
        mfu = f"{float(row['mfu']):.0%}" if row["mfu"] else ""
        error = f"{float(row['parity_error']):.2g}" if row["parity_error"] else ""
        print(f"{row['case_id']:58}{row['status']:12}{error:>11}{seconds:>10}{mfu:>7}"
              f"  {row['reason'][:60]}")
    ok = sum(row["status"] == "ok" and row["parity"] == "ok" for row in rows)
    holes = sum(row["status"] == "unsupported" for row in rows)
    print(f"{ok} of {len(rows)} proven, {holes} unsupported", flush=True)
    return done.returncode == 0 and bool(ok) and ok + holes == len(rows)


def _beside(device: str) -> None:
    printed = datasheet_flops(gpu_names()[0]) if device == "cuda" else {}
    print(f"\nbeside a plain loop, bf16, compiled\n{'model':16}{'samples/s':>11}{'tokens/s':>11}"
          f"{'MFU':>7}{'of datasheet':>14}{'ratio':>8}   low to high")
    for workload, size, batch in PAIRS[device]:
        line, _ = _beside_one(_case(workload, size, batch, device), printed.get("bf16"))
        print(line, flush=True)


def _beside_one(case: Case, printed: float | None) -> tuple[str, float]:
    """A line of the table, and the plain loop's step over the adapter's; 0 where it failed."""
    name = f"{case.workload} {case.size}"
    with tempfile.TemporaryDirectory() as folder:
        outcome = launch_case(case, Path(folder) / "pair", 540, worker="tests.gpu.pair")
    if outcome.status != "ok":
        return f"{name:16}{outcome.status}: {outcome.reason}", 0.0
    (record,) = outcome.records
    if not record["blocks"]:
        return f"{name:16}its plain loop needs torchvision, which is not installed", 0.0
    found = compare(np.array([record["blocks"]]))
    rate = case.spec.global_batch / found.adapter_s
    flops = case.spec.flops_per_sample() * rate
    shares: list[Any] = [flops / record["matmul_flops_s"], flops / printed if printed else None]
    mfu, sheet = (f"{share:.1%}" if share else "" for share in shares)
    tokens = f"{rate * case.spec.tokens_per_sample:.0f}" if case.spec.tokens_per_sample else ""
    line = (f"{name:16}{rate:11.1f}{tokens:>11}{mfu:>7}{sheet:>14}"
            f"{1 / found.ratio:8.3f}   {1 / found.high:.3f} to {1 / found.low:.3f}")
    return line, 1 / found.ratio


if __name__ == "__main__":
    raise SystemExit(main())
