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
    return f"{value:.2f}×"


def ratio(value: Any) -> str:
    return f"{value:.3g}"


def percent(value: Any) -> str:
    return f"{100 * value:.1f} %"


def _text(name: str, label: str, definition: str) -> Metric:
    return Metric(name, "", label, "", str, definition)


def _seconds(name: str, label: str, definition: str, better: Better = "lower") -> Metric:
    return Metric(name, "s", label, better, seconds, definition)


METRICS: tuple[Metric, ...] = (
    _text("run_id", "run", "The run's folder."),
    _text("case_id", "case", "Unique in a run."),
    _text("status", "status", "ok, failed, timeout, oom, unsupported or refused."),
    _text("reason", "reason", "Why the status is not ok."),
    _text("framework", "framework", "pytorch, tensorflow or horovod."),
    _text("engine", "engine", "What computes: torch or tensorflow."),
    _text("strategy", "strategy", "single, data, intra_layer or inter_layer."),
    _text("variant", "variant", "The schedule of a pipeline."),
    _text("workload", "workload", "What is trained."),
    _text("size", "size", "The workload's size."),
    _text("data", "data", "real, synthetic or a file."),
    _text("device", "device", "cpu (one core is one device) or cuda."),
    _text("devices", "devices", "How many devices share the step."),
    _text("dtype", "dtype", "Number format of the timed run."),
    _text("mode", "mode", "eager or compiled."),
    _text("global_batch", "global batch", "Samples a step, over all devices."),
    _text("steps", "steps", "Measured steps a launch."),
    _text("repeats", "launches", "Launches that finished."),
    _seconds("step_time_s", "step time", "Median over launches of the median of steps; "
             "a step is as long as its slowest rank's."),
    _seconds("step_time_ci_low_s", "step time, low", "95 % bootstrap over launches."),
    _seconds("step_time_ci_high_s", "step time, high", "95 % bootstrap over launches."),
    _seconds("time_s", "time", "Wall time of a launch's measured steps."),
    Metric("throughput_samples_s", "1/s", "samples/s", "higher", rate,
           "Samples of all measured steps over their total time."),
    Metric("throughput_tokens_s", "1/s", "tokens/s", "higher", rate,
           "Tokens of all measured steps over their total time."),
    Metric("speedup", "", "speedup", "higher", times, "Step time of the same framework's and "
           "engine's single device over this one's, paired by block."),
    Metric("speedup_ci_low", "", "speedup, low", "higher", times, "95 % bootstrap."),
    Metric("speedup_ci_high", "", "speedup, high", "higher", times, "95 % bootstrap."),
    Metric("efficiency", "", "efficiency", "higher", percent, "Speedup over devices."),
    _seconds("t_comm_s", "T_comm", "Union of a device's communication intervals in a step, "
             "mean over devices."),
    _seconds("t_comm_exposed_s", "T_comm exposed", "The part with no compute running. Empty: "
             "no probe sees compute intervals yet."),
    _seconds("t_comm_wait_s", "T_comm wait", "From this device's arrival to the last one's."),
    _seconds("t_comm_transfer_s", "T_comm transfer", "max(end) - max(start) of a collective."),
    Metric("comm_bytes", "B", "B", "lower", size_bytes, "Payload per communication."),
    Metric("comm_count", "", "N", "lower", ratio, "Communications per step."),
    Metric("alpha_s_per_byte", "s/B", "alpha", "lower", lambda value: f"{seconds(value)}/B",
           "T_comm / (B·N)."),
    _seconds("t_comm_model_s", "T_comm model", "alpha·B·N with alpha from a link sweep. Empty: "
             "no link was swept.", ""),
    Metric("load_balance", "", "L", "lower", ratio, "max(T_i) / avg(T_i) of busy compute time."),
    _seconds("compute_max_s", "max T_i", "Busy compute time of the busiest device."),
    _seconds("compute_avg_s", "avg T_i", "Busy compute time, mean over devices."),
    Metric("peak_memory_bytes", "B", "peak memory", "lower", size_bytes,
           "Largest process (CPU: resident set) or allocator peak."),
    Metric("flops_per_s", "1/s", "model FLOP/s", "higher", rate,
           "FLOPs by the workload's formula over time."),
    Metric("mfu", "", "MFU", "higher", percent, "Model FLOP/s over the devices' peak. "
           "Empty: no peak was measured."),
    Metric("instrumentation_overhead", "", "probe overhead", "lower", percent,
           "Step time with probes over clean step time, minus one."),
    Metric("noise_cv", "", "noise", "lower", percent, "Deviation of steps over their mean."),
    _text("parity", "parity", "ok, reference, failed or skipped."),
    Metric("parity_error", "", "parity error", "lower", ratio,
           "Largest difference from the reference, as a share of its gate."),
    _text("warnings", "warnings", "What to doubt, and what to do about it."),
)
COLUMNS: tuple[str, ...] = tuple(metric.name for metric in METRICS)
BY_NAME: dict[str, Metric] = {metric.name: metric for metric in METRICS}
