"""The columns that ``results.csv`` has had since its first release, in an order that is fixed.

Other people's scripts may read these columns by their position, so nothing is inserted here. A new
column becomes a field of ``suite.contract.row.Row``, which follows these.
"""

from __future__ import annotations

from dataclasses import dataclass

from suite.contract.columns import MEDIAN, RATIO, NamedFields, figure, seconds, text
from suite.contract.warnings import Warning


@dataclass(slots=True, kw_only=True)
class CoreColumns(NamedFields):
    """What a case is, how it ended, and its main figures, in seconds and bytes.

    A figure is None where it does not exist, for example because nothing communicates.
    """

    run_id: str = text("run", "Name of the run's folder.")
    case_id: str = text("case", "Name of the case; no other case of the run has it.")
    status: str = text("status", "ok, failed, timeout, oom, unsupported or refused.")
    reason: str = text("reason", "Why the status is not ok.")
    framework: str = text("framework", "The adapter: pytorch, tensorflow, horovod, or another.")
    engine: str = text("engine", "The library that computes: torch or tensorflow.")
    strategy: str = text(
        "strategy",
        "How the work is split: single, data, intra_layer or inter_layer; a + joins two of them."
    )
    variant: str = text(
        "variant", "The variant of the strategy, such as the schedule of a pipeline."
    )
    workload: str = text("workload", "The model that is trained.")
    size: str = text("size", "Which size of the workload is trained.")
    data: str = text("data", "Where the training data comes from: real, synthetic or a file.")
    device: str = text("device", "cpu, where a device is one core, or cuda.")
    devices: int = text("devices", "How many devices share a step.", default=0)
    dtype: str = text(
        "dtype",
        "Number format of the timed run: float32, tf32 or bf16. A case in tf32 or bf16 is first "
        "proven in float32."
    )
    mode: str = text("mode", "How the model is executed: eager or compiled.")
    global_batch: int = text("global batch", "Samples in a step, over all devices.", default=0)
    steps: int = text("steps", "How many steps each launch measures.", default=0)
    repeats: int = text("launches", "How many launches of the case finished.", default=0)
    step_time_s: float | None = seconds(
        "step time",
        "Median over launches of each launch's median step. A step takes as long as its slowest "
        "rank."
    )
    step_time_ci_low_s: float | None = seconds(
        "step time, low", f"Lower end of the 95 % interval over launches. {MEDIAN}"
    )
    step_time_ci_high_s: float | None = seconds(
        "step time, high", f"Upper end of the 95 % interval over launches. {MEDIAN}"
    )
    time_s: float | None = seconds(
        "time", "Wall time of all measured steps of a launch: median over launches."
    )
    throughput_samples_s: float | None = figure(
        "1/s", "samples/s", "higher", "rate",
        "Samples of all measured steps, divided by the total time of these steps."
    )
    throughput_tokens_s: float | None = figure(
        "1/s", "tokens/s", "higher", "rate",
        "Tokens of all measured steps, divided by the total time of these steps."
    )
    speedup: float | None = figure(
        "", "speedup", "higher", "times",
        "How many times as fast a step is as on a single device of the same framework and engine: "
        "the Hodges-Lehmann estimate of the ratio, with launches of the same block paired. With "
        "weak scaling a step on n devices does n times the work, so there it is n times that ratio "
        "(scaled speedup, Gustafson 1988): how many times as many samples a second."
    )
    speedup_ci_low: float | None = figure(
        "", "speedup, low", "higher", "times", f"Lower end of the 95 % interval. {RATIO}"
    )
    speedup_ci_high: float | None = figure(
        "", "speedup, high", "higher", "times", f"Upper end of the 95 % interval. {RATIO}"
    )
    efficiency: float | None = figure(
        "", "efficiency", "higher", "percent",
        "Speedup divided by the number of devices. With weak scaling that is the step time of one "
        "device over that of the case."
    )
    t_comm_s: float | None = seconds(
        "T_comm",
        "Time of a step in which a device has at least one communication in flight: mean over "
        "devices. Overlapping communications count once."
    )
    t_comm_exposed_s: float | None = seconds(
        "T_comm exposed",
        "The part of T_comm in which the device computes nothing, so that communication is not "
        "hidden behind compute."
    )
    t_comm_wait_s: float | None = seconds(
        "T_comm wait",
        "The part of T_comm that a device spends waiting until the last participant is ready (for "
        "a point-to-point transfer: until the sender is). Overlaps count once; mean over devices."
    )
    t_comm_transfer_s: float | None = seconds(
        "T_comm transfer",
        "The part of T_comm after every participant is ready: until the last one has the result "
        "of a collective, or until a point-to-point transfer has arrived."
    )
    comm_bytes: float | None = figure(
        "B", "B", "lower", "bytes", "Mean payload of a communication."
    )
    comm_count: float | None = figure(
        "", "N", "lower", "ratio", "Number of communications in a step."
    )
    alpha_s_per_byte: float | None = figure(
        "s/B", "alpha", "lower", "alpha",
        "Seconds that a payload byte costs on the idle link, from the link sweep of this run. If "
        "a step uses several kinds of communication, each kind counts by its bytes. Empty without "
        "a sweep."
    )
    t_comm_model_s: float | None = seconds(
        "T_comm model",
        "alpha·B·N, what the idle link would take. Only the receiver of a point-to-point transfer "
        "waits for it, so these transfers are divided by the number of devices.", ""
    )
    load_balance: float | None = figure(
        "", "L", "lower", "ratio",
        "max(T_i) / avg(T_i), where T_i is the compute time of device i. 1 is perfect balance."
    )
    compute_max_s: float | None = seconds(
        "max T_i", "Compute time of the device that computes most in a step, without dispatch."
    )
    compute_avg_s: float | None = seconds(
        "avg T_i", "Compute time in a step, without dispatch: mean over devices."
    )
    peak_memory_bytes: int | None = figure(
        "B", "peak memory", "lower", "bytes",
        "Peak of the largest process: its resident set on CPUs, its allocator on GPUs. It covers "
        "the warm-up and the clean steps, not the proof before them or the probes after them.",
        from_ranks="largest"
    )
    flops_per_s: float | None = figure(
        "1/s", "model FLOP/s", "higher", "rate",
        "FLOPs that the workload's formula counts for the measured steps, divided by their time."
    )
    mfu: float | None = figure(
        "", "MFU", "higher", "percent",
        "Model FLOP/s of a device, as a share of the highest rate at which one device of this run "
        "multiplied matrices in the case's number format. That rate is the best of all frameworks "
        "and, for float32 on CPUs, of NumPy before each block."
    )
    instrumentation_overhead: float | None = figure(
        "", "probe overhead", "lower", "percent",
        "How much longer a step takes with the suite's probes than without them."
    )
    noise_cv: float | None = figure(
        "", "noise", "lower", "percent",
        "Standard deviation of the clean steps, divided by their mean."
    )
    parity: str = text(
        "parity",
        "Whether the case trains the same model as one device in float64: ok, reference, failed "
        "or skipped."
    )
    parity_error: float | None = figure(
        "", "parity error", "lower", "ratio",
        "Largest difference from the float64 reference, as a share of what is allowed; above 1 "
        "the case is refused."
    )
    warnings: list[Warning] = text(
        "warnings", "What to doubt about the case, and what to do about it.", default=list
    )
