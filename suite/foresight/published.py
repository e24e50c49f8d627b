"""Published tables as configurations: each row a model, a plan and the seconds of a step."""

from __future__ import annotations

import csv
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, fields
from functools import cache

import numpy as np

from suite.foresight.hardware import DATA
from suite.foresight.plans import FULL, NO_RECOMPUTE, SELECTIVE, Plan
from suite.foresight.programs import Program, known_shape, program_of
from suite.foresight.transformer import Transformer, transformer
from suite.foresight.units import Model, training_flops

Row = dict[str, str]
STEP_METRICS = ("iteration_time", "tokens_per_s_per_gpu", "tflops_per_gpu", "mfu")


@dataclass(frozen=True)
class Published:
    """One published step of a transformer.

    Attributes:
        source: Where it was published.
        stack: Hardware, software and number format: what one calibration holds for.
        model: Which model it trains; rows of one model are never split by a calibration.
        shape: Dimensions of the model.
        plan: How it is split and scheduled.
        seconds: Measured seconds of a step.
        program: The software and its device.
        row: The row as it stands in the table.
    """

    source: str
    stack: str
    model: str
    shape: Transformer
    plan: Plan
    seconds: float
    program: Program
    row: Row


@cache
def table() -> tuple[Row, ...]:
    """All rows of data/published.csv as text."""
    with (DATA / "published.csv").open(encoding="utf-8", newline="") as file:
        return tuple(csv.DictReader(file))


def steps() -> tuple[list[Published], dict[str, int]]:
    """Every row that states a step of a transformer, and why the others are left out.

    Returns:
        The steps in the order of the table, and reason to number of rows.
    """
    found: list[Published] = []
    reasons: dict[str, int] = {}
    for row in table():
        result = _step(row)
        if isinstance(result, str):
            reasons[f"{row['source']}: {result}"] = reasons.get(f"{row['source']}: {result}", 0) + 1
        else:
            found.append(result)
    return found, reasons


def configuration(row: Row) -> tuple[Program, Transformer, Plan] | str:
    """What a row trains and how; a reason where the row does not say."""
    program = program_of(row)
    if program is None:
        return "no transformer of a known program and device"
    shape = _shape(row, program)
    if shape is None:
        return "dimensions are not stated"
    plan = _plan(row, program)
    return "split or batch is not stated" if plan is None else (program, shape, plan)


def _step(row: Row) -> Published | str:
    if row["metric"] not in STEP_METRICS:
        return f"{row['metric']} is no step's time"
    found = configuration(row)
    if isinstance(found, str):
        return found
    program, shape, plan = found
    seconds = _seconds(row, shape, plan)
    if seconds is None:
        return f"{row['value']} is no number"
    return Published(row["source"], program.stack(row), model_name(row), shape, plan,
                     seconds=seconds, program=program, row=row)


def model_name(row: Row) -> str:
    """Name of the row's model; where a table trains many of one family, with its dimensions."""
    dimensions = f"GPT {row['layers']}x{row['hidden']}"
    return _family(dimensions if "vTrain" in row["source"] else row["model"], row)


def _family(model: str, row: Row) -> str:
    """Rows of the same model under two spellings are one model."""
    text = re.sub(r"\(.*?\)|[^a-z0-9.]", "", model.lower())
    return f"{text}" if row["layers"] == "" else f"{text}/{row['layers']}"


def _number(row: Row, name: str) -> float:
    text = row[name].strip()
    return float(text) if re.fullmatch(r"[0-9.]+", text) else 0.0


def _shape(row: Row, program: Program) -> Transformer | None:
    known = known_shape(row)
    layers = _number(row, "layers") or known.get("layers", 0.0)
    hidden = _number(row, "hidden") or known.get("hidden", 0.0)
    heads = _number(row, "heads") or known.get("heads", 0.0)
    sequence = _number(row, "seq") or known.get("sequence", 0.0)
    if not layers or not hidden or not heads or not sequence:
        return None
    vocabulary = _number(row, "vocab") or known.get("vocabulary", 51200.0)
    return Transformer(
        layers, hidden, heads, sequence, vocabulary,
        feed_forward=known.get("feed_forward", 4.0 * hidden),
        key_value_heads=known.get("key_value_heads", heads), gated=known.get("gated", 0.0),
        fused_attention=program.fused_attention, tied=known.get("tied", 1.0),
        dropout=known.get("dropout", 1.0), kept_scores=known.get("kept_scores", 2.5),
        eager=known.get("eager", 0.0), cast=known.get("cast", 0.0),
    )


def _noted(row: Row, pattern: str) -> float:
    found = re.search(pattern, row["note"])
    return float(found.group(1)) if found else 0.0


def _plan(row: Row, program: Program) -> Plan | None:
    gpus = _number(row, "gpus")
    shards, stages = _number(row, "tp") or 1.0, _number(row, "pp") or 1.0
    context = _noted(row, r"\bcp (\d+)") or 1.0
    replicas = _number(row, "dp") or gpus / (shards * stages * context)
    batch = _number(row, "global_batch")
    accumulated = _noted(row, r"grad accumulation (\d+)")
    micro = _number(row, "micro_batch") or program.micro_batch
    if not gpus or not batch or not micro or replicas < 1:
        return None
    parts = accumulated if accumulated and stages == 1 else batch / (micro * replicas)
    parts = max(1.0, round(parts))
    chunks = _chunks(row, stages)
    schedule = "interleaved" if chunks > 1 and stages > 1 else "1f1b"
    return Plan(
        shards, stages, replicas, context, micro_batch=batch / (replicas * parts),
        micro_batches=parts, schedule=schedule, chunks=chunks,
        recompute=_recompute(row, program), sharding=_sharding(row, program),
        sequence_parallel=float(
            program.sequence_parallel and shards > 1 or "sequence parallel on" in row["note"]),
    )


def _chunks(row: Row, stages: float) -> float:
    text = row["schedule"]
    next_release = _noted(row, r"vp .*, (\d+) in the next release")
    if next_release:
        return next_release
    a_stage = re.search(r"(\d+) layers? a virtual stage", text)
    if a_stage:
        return max(1.0, round(_number(row, "layers") / stages / float(a_stage.group(1))))
    times = re.search(r"interleaved x(\d+)", text)
    return float(times.group(1)) if times else 1.0


def _recompute(row: Row, program: Program) -> float:
    text = row["recompute"] or program.recompute
    if text.startswith("full"):
        return FULL
    return SELECTIVE if text.startswith("selective") else NO_RECOMPUTE


def _sharding(row: Row, program: Program) -> float:
    text = row["zero"]
    if "fsdp" in text:
        return 3.0
    return float(text) if text in ("0", "1", "2", "3") else program.sharding


def _seconds(row: Row, shape: Transformer, plan: Plan) -> float | None:
    value, metric = _number(row, "value"), row["metric"]
    batch = plan.replicas * plan.micro_batch * plan.micro_batches
    devices = plan.shards * plan.stages * plan.replicas * plan.context
    if not value:
        return None
    if metric == "iteration_time":
        return value / 1000.0 if row["unit"] == "ms" else value
    if metric == "tokens_per_s_per_gpu":
        return float(batch * shape.sequence / (value * devices))
    if metric == "tflops_per_gpu":
        return float(batch * _megatron_flops(shape) / (value * 1e12 * devices))
    if metric == "mfu":
        flops = batch * training_flops(transformer(shape))
        return float(flops / (value / 100.0 * 989e12 * devices))
    return None


def _megatron_flops(shape: Transformer) -> float:
    """FLOPs of a sample with full recompute: 96 s l h² (1 + s / 6h + V / 16 l h).

    Narayanan et al. 2021, equation 3; the published TFLOP/s are computed with it.
    """
    layers, hidden = float(shape.layers), float(shape.hidden)
    sequence, vocabulary = float(shape.sequence), float(shape.vocabulary)
    factor = 1.0 + sequence / (6.0 * hidden) + vocabulary / (16.0 * layers * hidden)
    return 96.0 * sequence * layers * hidden**2 * factor


def model_of(rows: Iterable[Published]) -> Model:
    """One model whose numbers are arrays, an entry a row: all rows are predicted at once."""
    shapes = [row.shape for row in rows]
    columns = {one.name: np.array([float(getattr(shape, one.name)) for shape in shapes])
               for one in fields(Transformer)}
    return transformer(Transformer(**columns))


def sources(rows: Iterable[Published]) -> Iterator[str]:
    """Names of the sources in the order of the table."""
    return iter(dict.fromkeys(row.source for row in rows))
