"""One table of every column: name, unit, label, which way is better, format, definition."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

Better = Literal["lower", "higher", ""]


@dataclass(frozen=True)
class Metric:
    """A column of ``results.csv``; ``formatter`` shows a present value to a reader."""

    name: str
    unit: str
    label: str
    better: Better
    formatter: Callable[[Any], str]
    definition: str

    def show(self, value: Any) -> str:
        """Empty for a figure that does not exist."""
        if value is None or (isinstance(value, float) and math.isnan(value)):
            return ""
        return self.formatter(value)


def _scaled(steps: tuple[tuple[float, str], ...]) -> Callable[[Any], str]:
    def show(value: Any) -> str:
        fitting = (step for step in steps if abs(value) >= step[0])
        size, unit = next(fitting, steps[-1])
        return f"{value / size:.3g} {unit}"

    return show


seconds = _scaled(((1.0, "s"), (1e-3, "ms"), (1e-6, "µs"), (1e-9, "ns"), (1e-12, "ps")))
size_bytes = _scaled(((1e9, "GB"), (1e6, "MB"), (1e3, "kB"), (1.0, "B")))
rate = _scaled(((1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k"), (1.0, "")))


def times(value: Any) -> str:
    return f"{value:.2f}×" if abs(value) < 100 else f"{value:,.0f}×"


def ratio(value: Any) -> str:
    return f"{value:.3g}"


def percent(value: Any) -> str:
    return f"{100 * value:.1f} %"


def _text(name: str, label: str, definition: str) -> Metric:
    return Metric(name, "", label, "", str, definition)


def _seconds(name: str, label: str, definition: str, better: Better = "lower") -> Metric:
    return Metric(name, "s", label, better, seconds, definition)


MEDIAN = ("order statistics, exact for the median, from 6 launches on; Student's t on logarithms "
          "below.")
RATIO = ("signed-rank test over blocks, exact under their random order, from 6 pairs on; "
         "Student's t on logarithms below.")
METRICS: tuple[Metric, ...] = (
    _text("run_id", "run", "The run's folder."),
    _text("case_id", "case", "Unique in a run."),
    _text("status", "status", "ok, failed, timeout, oom, unsupported or refused."),
    _text("reason", "reason", "Why the status is not ok."),
    _text("framework", "framework", "pytorch, tensorflow or horovod."),
    _text("engine", "engine", "What computes: torch or tensorflow."),
    _text("strategy", "strategy", "single, data, intra_layer or inter_layer; + combines."),
    _text("variant", "variant", "The schedule of a pipeline."),
    _text("workload", "workload", "What is trained."),
    _text("size", "size", "The workload's size."),
    _text("data", "data", "real, synthetic or a file."),
    _text("device", "device", "cpu (one core is one device) or cuda."),
    _text("devices", "devices", "How many devices share the step."),
    _text("dtype", "dtype", "Number format of the timed run: float32, tf32 or bf16; "
          "proven in float32 first."),
    _text("mode", "mode", "eager or compiled."),
    _text("global_batch", "global batch", "Samples a step, over all devices."),
    _text("steps", "steps", "Measured steps a launch."),
    _text("repeats", "launches", "Launches that finished."),
    _seconds("step_time_s", "step time", "Median over launches of the median of steps; "
             "a step is as long as its slowest rank's."),
    _seconds("step_time_ci_low_s", "step time, low", f"95 % interval over launches: {MEDIAN}"),
    _seconds("step_time_ci_high_s", "step time, high", f"95 % interval over launches: {MEDIAN}"),
    _seconds("time_s", "time", "Wall time of a launch's measured steps."),
    Metric("throughput_samples_s", "1/s", "samples/s", "higher", rate,
           "Samples of all measured steps over their total time."),
    Metric("throughput_tokens_s", "1/s", "tokens/s", "higher", rate,
           "Tokens of all measured steps over their total time."),
    Metric("speedup", "", "speedup", "higher", times, "Step time of the same framework's and "
           "engine's single device over this one's, paired by block: Hodges-Lehmann estimate of "
           "the ratio."),
    Metric("speedup_ci_low", "", "speedup, low", "higher", times, f"95 % interval: {RATIO}"),
    Metric("speedup_ci_high", "", "speedup, high", "higher", times, f"95 % interval: {RATIO}"),
    Metric("efficiency", "", "efficiency", "higher", percent, "Speedup over devices."),
    _seconds("t_comm_s", "T_comm", "Union of a device's communication intervals in a step, "
             "mean over devices."),
    _seconds("t_comm_exposed_s", "T_comm exposed", "The part of T_comm during which the device's "
             "compute clock stands still."),
    _seconds("t_comm_wait_s", "T_comm wait", "From a device's readiness to the last one's (of a "
             "hop: to its sender's); union in a step, mean over devices."),
    _seconds("t_comm_transfer_s", "T_comm transfer", "From the last device's readiness to the "
             "result: collectives until the last end, hops until the arrival."),
    Metric("comm_bytes", "B", "B", "lower", size_bytes, "Payload per communication."),
    Metric("comm_count", "", "N", "lower", ratio, "Communications per step."),
    Metric("alpha_s_per_byte", "s/B", "alpha", "lower", lambda value: f"{seconds(value)}/B",
           "Seconds a payload byte costs on the idle link, from the run's sweep; of several kinds "
           "weighted by their bytes. Empty without a sweep."),
    _seconds("t_comm_model_s", "T_comm model", "alpha·B·N; of hops over devices, since each is in "
             "flight for its receiver alone.", ""),
    Metric("load_balance", "", "L", "lower", ratio, "max(T_i) / avg(T_i) of busy compute time."),
    _seconds("compute_max_s", "max T_i", "Busy compute time of the busiest device."),
    _seconds("compute_avg_s", "avg T_i", "Busy compute time, mean over devices."),
    Metric("peak_memory_bytes", "B", "peak memory", "lower", size_bytes,
           "Largest process (CPU: resident set) or allocator peak, from after the proof to before "
           "the probes."),
    Metric("flops_per_s", "1/s", "model FLOP/s", "higher", rate,
           "FLOPs by the workload's formula over time."),
    Metric("mfu", "", "MFU", "higher", percent, "Model FLOP/s over devices times the "
           "highest matrix-product rate of one device in the run, in the case's format: of any "
           "framework, or of NumPy before the blocks (float32 on CPUs)."),
    Metric("instrumentation_overhead", "", "probe overhead", "lower", percent,
           "Step time with probes over clean step time, minus one."),
    Metric("noise_cv", "", "noise", "lower", percent, "Deviation of steps over their mean."),
    _text("parity", "parity", "ok, reference, failed or skipped."),
    Metric("parity_error", "", "parity error", "lower", ratio,
           "Largest difference from the reference, as a share of its gate."),
    _text("warnings", "warnings", "What to doubt, and what to do about it."),
    _seconds("t_comm_all_reduce_s", "T_comm all-reduce", "T_comm of all-reduces alone."),
    _seconds("t_comm_all_gather_s", "T_comm all-gather",
             "T_comm of all-gathers, reduce-scatters and broadcasts alone."),
    _seconds("t_comm_send_recv_s", "T_comm point-to-point", "T_comm of hops alone."),
    Metric("comm_bytes_logical", "B", "B logical", "lower", size_bytes,
           "Payload per communication that the strategy asks for, before bucketing or fusion."),
    Metric("comm_count_logical", "", "N logical", "lower", ratio,
           "Communications per step that the strategy asks for, before bucketing or fusion."),
    _seconds("t_comm_silent_check_s", "T_comm check", "Clean step time minus that of the same step "
             "with communication switched off: what exposed T_comm is checked against."),
    Metric("load_balance_step", "", "L per step", "lower", ratio,
           "Sum over steps of max(T_i) over that of avg(T_i): shows imbalance that moves about."),
    _text("slowest_device", "slowest device", "The device with max(T_i); a stage in a pipeline."),
    Metric("bubble", "", "bubble", "lower", percent, "Idle share of a device in the timed step of "
           "a pipeline, mean over devices: 1 - T_i / step."),
    Metric("bubble_ideal", "", "ideal bubble", "lower", percent, "(p-1)/(v*m+p-1) for p devices "
           "with v equal stages each and m micro-batches (Huang et al. 2019, Narayanan et al. "
           "2021)."),
    Metric("traced_overhead", "", "profiler overhead", "lower", percent,
           "Step time under the framework's profiler over clean step time, minus one."),
    _seconds("first_step_s", "first step", "The first training step of a launch, with what it "
             "builds and allocates: slowest rank, median over launches."),
    _text("base_case_id", "base", "The case that speedup is over."),
    _seconds("base_step_time_s", "base step time", "Step time of the base.", ""),
    _text("verdict", "verdict", "faster, slower or tie against the base, from the speedup's "
          "interval; not comparable where the ledger forbids it; empty without an interval."),
    _text("stopped", "stopped by", "precision, budget or repeats: why no more launches were "
          "made."),
    Metric("contention", "", "contention", "lower", times,
           "T_comm transfer over T_comm model: what the same bytes cost more inside a step."),
    _text("comm_verdict", "is this normal?", "T_comm transfer against the link's prediction."),
    _text("ledger", "ledger", "Fairness ledger as JSON: rows that differ in it are not compared."),
    _text("mesh", "mesh", "Devices along each axis of a combined strategy."),
    _text("accumulate", "accumulated", "Micro-batches whose gradients a device adds up before the "
          "one update of a step; of a pipeline, by how much its micro-batches are multiplied."),
    Metric("max_batch", "", "largest batch", "higher", str,
           "Largest global batch that fits, within the resolution asked for (--find-max-batch)."),
    Metric("max_batch_memory_bytes", "B", "memory at it", "", size_bytes,
           "Peak of the largest process (CPU: resident set) or allocator at the largest batch."),
    Metric("max_batch_throughput_samples_s", "1/s", "samples/s at it", "higher", rate,
           "Largest batch over the median step of its probe: a few steps of one launch, unproven."),
    Metric("failed_batch", "", "smallest that failed", "", str,
           "Smallest global batch that was tried and did not fit."),
    _text("failed_batch_reason", "why it failed",
          "oom, timeout or failed, and the reason in words."),
    Metric("memory_limit_bytes", "B", "memory limit", "", size_bytes,
           "What a process (GPU: an allocator) was allowed in the probes: a device's limit times "
           "the devices that a process drives."),
    _text("device_speeds", "device speeds", "Relative speeds that shares and cuts were planned "
          "for, a device each (--device-speeds); empty where they are even."),
    Metric("mfu_datasheet", "", "MFU of datasheet", "higher", percent, "Model FLOP/s over GPUs "
           "times the peak that their vendor prints for the format (dense)."),
    Metric("device_memory_bytes", "B", "GPU memory in use", "lower", size_bytes, "On the fullest "
           "GPU at a launch's end: all that any process holds there, contexts and communication "
           "buffers with it. Of CPU devices empty."),
    Metric("matmul_flops_s", "1/s", "matrix product FLOP/s", "higher", rate, "Square matrix "
           "products of the framework itself, on one device in the case's format, at the end of "
           "its launches with probes: median."),
)
COLUMNS: tuple[str, ...] = tuple(metric.name for metric in METRICS)
BY_NAME: dict[str, Metric] = {metric.name: metric for metric in METRICS}
