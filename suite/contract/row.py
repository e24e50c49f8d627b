"""One row of the comparison: what a case is, and every figure that its launches gave.

The fields that are made with ``text``, ``seconds`` or ``figure`` are the columns of ``results.csv``
in their order, each with its unit, label, format and definition; the table of metrics is read from
them (``suite.contract.metrics``). The fields at the end ride along for the page, for comparisons
and for the JSON output, and are no columns.
"""

from __future__ import annotations

from dataclasses import dataclass, field, fields

from suite.contract.columns import MEDIAN, RATIO, NamedFields, figure, seconds, text
from suite.contract.records import FrontierProbe
from suite.contract.warnings import Warning

Samples = dict[str, list[float | None]]


@dataclass(slots=True, kw_only=True)
class Row(NamedFields):
    """A case in a run. Seconds and bytes; None where a figure does not exist.

    ``launch_step_s`` is the median step of each block, None where the launch failed, and
    ``launch_samples`` the same for every metric that a launch has. ``step_quantiles_s`` and
    ``step_sample_s`` summarise all clean steps. ``device_compute_s`` is T_i of each device and
    ``clocked_step_s`` the length of the step that T_i was read in. ``frontier`` holds the probes of
    ``--find-max-batch``.
    """

    run_id: str = text("run", "The run's folder.")
    case_id: str = text("case", "Unique in a run.")
    status: str = text("status", "ok, failed, timeout, oom, unsupported or refused.")
    reason: str = text("reason", "Why the status is not ok.")
    framework: str = text("framework", "pytorch, tensorflow or horovod.")
    engine: str = text("engine", "What computes: torch or tensorflow.")
    strategy: str = text("strategy", "single, data, intra_layer or inter_layer; + combines.")
    variant: str = text("variant", "The schedule of a pipeline.")
    workload: str = text("workload", "What is trained.")
    size: str = text("size", "The workload's size.")
    data: str = text("data", "real, synthetic or a file.")
    device: str = text("device", "cpu (one core is one device) or cuda.")
    devices: int = text("devices", "How many devices share the step.", default=0)
    dtype: str = text(
        "dtype", "Number format of the timed run: float32, tf32 or bf16; proven in float32 first."
    )
    mode: str = text("mode", "eager or compiled.")
    global_batch: int = text("global batch", "Samples a step, over all devices.", default=0)
    steps: int = text("steps", "Measured steps a launch.", default=0)
    repeats: int = text("launches", "Launches that finished.", default=0)
    step_time_s: float | None = seconds(
        "step time",
        "Median over launches of the median of steps; a step is as long as its slowest rank's."
    )
    step_time_ci_low_s: float | None = seconds(
        "step time, low", f"95 % interval over launches: {MEDIAN}"
    )
    step_time_ci_high_s: float | None = seconds(
        "step time, high", f"95 % interval over launches: {MEDIAN}"
    )
    time_s: float | None = seconds("time", "Wall time of a launch's measured steps.")
    throughput_samples_s: float | None = figure(
        "1/s", "samples/s", "higher", "rate", "Samples of all measured steps over their total time."
    )
    throughput_tokens_s: float | None = figure(
        "1/s", "tokens/s", "higher", "rate", "Tokens of all measured steps over their total time."
    )
    speedup: float | None = figure(
        "", "speedup", "higher", "times",
        "Step time of the same framework's and engine's single device over this one's, paired by "
        "block: Hodges-Lehmann estimate of the ratio."
    )
    speedup_ci_low: float | None = figure(
        "", "speedup, low", "higher", "times", f"95 % interval: {RATIO}"
    )
    speedup_ci_high: float | None = figure(
        "", "speedup, high", "higher", "times", f"95 % interval: {RATIO}"
    )
    efficiency: float | None = figure(
        "", "efficiency", "higher", "percent", "Speedup over devices."
    )
    t_comm_s: float | None = seconds(
        "T_comm", "Union of a device's communication intervals in a step, mean over devices."
    )
    t_comm_exposed_s: float | None = seconds(
        "T_comm exposed", "The part of T_comm during which the device's compute clock stands still."
    )
    t_comm_wait_s: float | None = seconds(
        "T_comm wait",
        "From a device's readiness to the last one's (of a hop: to its sender's); union in a step,"
        " mean over devices."
    )
    t_comm_transfer_s: float | None = seconds(
        "T_comm transfer",
        "From the last device's readiness to the result: collectives until the last end, hops "
        "until the arrival."
    )
    comm_bytes: float | None = figure("B", "B", "lower", "bytes", "Payload per communication.")
    comm_count: float | None = figure("", "N", "lower", "ratio", "Communications per step.")
    alpha_s_per_byte: float | None = figure(
        "s/B", "alpha", "lower", "alpha",
        "Seconds a payload byte costs on the idle link, from the run's sweep; of several kinds "
        "weighted by their bytes. Empty without a sweep."
    )
    t_comm_model_s: float | None = seconds(
        "T_comm model",
        "alpha·B·N; of hops over devices, since each is in flight for its receiver alone.", ""
    )
    load_balance: float | None = figure(
        "", "L", "lower", "ratio", "max(T_i) / avg(T_i) of busy compute time."
    )
    compute_max_s: float | None = seconds("max T_i", "Busy compute time of the busiest device.")
    compute_avg_s: float | None = seconds("avg T_i", "Busy compute time, mean over devices.")
    peak_memory_bytes: int | None = figure(
        "B", "peak memory", "lower", "bytes",
        "Largest process (CPU: resident set) or allocator peak, from after the proof to before the"
        " probes.", from_ranks="largest"
    )
    flops_per_s: float | None = figure(
        "1/s", "model FLOP/s", "higher", "rate", "FLOPs by the workload's formula over time."
    )
    mfu: float | None = figure(
        "", "MFU", "higher", "percent",
        "Model FLOP/s over devices times the highest matrix-product rate of one device in the run,"
        " in the case's format: of any framework, or of NumPy before the blocks (float32 on CPUs)."
    )
    instrumentation_overhead: float | None = figure(
        "", "probe overhead", "lower", "percent",
        "Step time with probes over clean step time, minus one."
    )
    noise_cv: float | None = figure(
        "", "noise", "lower", "percent", "Deviation of steps over their mean."
    )
    parity: str = text("parity", "ok, reference, failed or skipped.")
    parity_error: float | None = figure(
        "", "parity error", "lower", "ratio",
        "Largest difference from the reference, as a share of its gate."
    )
    warnings: list[Warning] = text(
        "warnings", "What to doubt, and what to do about it.", default=list
    )
    t_comm_all_reduce_s: float | None = seconds("T_comm all-reduce", "T_comm of all-reduces alone.")
    t_comm_all_gather_s: float | None = seconds(
        "T_comm all-gather", "T_comm of all-gathers, reduce-scatters and broadcasts alone."
    )
    t_comm_send_recv_s: float | None = seconds("T_comm point-to-point", "T_comm of hops alone.")
    comm_bytes_logical: float | None = figure(
        "B", "B logical", "lower", "bytes",
        "Payload per communication that the strategy asks for, before bucketing or fusion."
    )
    comm_count_logical: float | None = figure(
        "", "N logical", "lower", "ratio",
        "Communications per step that the strategy asks for, before bucketing or fusion."
    )
    t_comm_silent_check_s: float | None = seconds(
        "T_comm check",
        "Clean step time minus that of the same step with communication switched off: what exposed"
        " T_comm is checked against."
    )
    load_balance_step: float | None = figure(
        "", "L per step", "lower", "ratio",
        "Sum over steps of max(T_i) over that of avg(T_i): shows imbalance that moves about."
    )
    slowest_device: str = text("slowest device", "The device with max(T_i); a stage in a pipeline.")
    bubble: float | None = figure(
        "", "bubble", "lower", "percent",
        "Idle share of a device in the timed step of a pipeline, mean over devices: 1 - T_i / "
        "step."
    )
    bubble_ideal: float | None = figure(
        "", "ideal bubble", "lower", "percent",
        "(p-1)/(v*m+p-1) for p devices with v equal stages each and m micro-batches (Huang et al. "
        "2019, Narayanan et al. 2021)."
    )
    traced_overhead: float | None = figure(
        "", "profiler overhead", "lower", "percent",
        "Step time under the framework's profiler over clean step time, minus one."
    )
    first_step_s: float | None = seconds(
        "first step",
        "The first training step of a launch, with what it builds and allocates: slowest rank, "
        "median over launches."
    )
    base_case_id: str = text("base", "The case that speedup is over.")
    base_step_time_s: float | None = seconds("base step time", "Step time of the base.", "")
    verdict: str = text(
        "verdict",
        "faster, slower or tie against the base, from the speedup's interval; not comparable where"
        " the ledger forbids it; empty without an interval."
    )
    stopped: str = text(
        "stopped by", "precision, budget or repeats: why no more launches were made."
    )
    contention: float | None = figure(
        "", "contention", "lower", "times",
        "T_comm transfer over T_comm model: what the same bytes cost more inside a step."
    )
    comm_verdict: str = text("is this normal?", "T_comm transfer against the link's prediction.")
    ledger: dict[str, str] = text(
        "ledger", "Fairness ledger as JSON: rows that differ in it are not compared.", default=dict
    )
    mesh: str = text("mesh", "Devices along each axis of a combined strategy.")
    accumulate: int = text(
        "accumulated",
        "Micro-batches whose gradients a device adds up before the one update of a step; of a "
        "pipeline, by how much its micro-batches are multiplied.", default=1
    )
    max_batch: int | None = figure(
        "", "largest batch", "higher", "text",
        "Largest global batch that fits, within the resolution asked for (--find-max-batch)."
    )
    max_batch_memory_bytes: int | None = figure(
        "B", "memory at it", "", "bytes",
        "Peak of the largest process (CPU: resident set) or allocator at the largest batch."
    )
    max_batch_throughput_samples_s: float | None = figure(
        "1/s", "samples/s at it", "higher", "rate",
        "Largest batch over the median step of its probe: a few steps of one launch, unproven."
    )
    failed_batch: int | None = figure(
        "", "smallest that failed", "", "text",
        "Smallest global batch that was tried and did not fit."
    )
    failed_batch_reason: str = text(
        "why it failed", "oom, timeout or failed, and the reason in words."
    )
    memory_limit_bytes: int | None = figure(
        "B", "memory limit", "", "bytes",
        "What a process (GPU: an allocator) was allowed in the probes: a device's limit times the "
        "devices that a process drives."
    )
    device_speeds: str = text(
        "device speeds",
        "Relative speeds that shares and cuts were planned for, a device each (--device-speeds); "
        "empty where they are even."
    )
    mfu_datasheet: float | None = figure(
        "", "MFU of datasheet", "higher", "percent",
        "Model FLOP/s over GPUs times the peak that their vendor prints for the format (dense)."
    )
    device_memory_bytes: int | None = figure(
        "B", "GPU memory in use", "lower", "bytes",
        "On the fullest GPU at a launch's end: all that any process holds there, contexts and "
        "communication buffers with it. Of CPU devices empty.", from_ranks="largest"
    )
    matmul_flops_s: float | None = figure(
        "1/s", "matrix product FLOP/s", "higher", "rate",
        "Square matrix products of the framework itself, on one device in the case's format, at "
        "the end of its launches with probes: median.", from_ranks="median"
    )
    alpha_run_s_per_byte: float | None = figure(
        "s/B", "alpha in the run", "lower", "alpha",
        "Seconds a payload byte costs inside a step: slope of the line fitted to the transfers of "
        "the timed steps, not below the idle link's; of several kinds weighted by their bytes."
    )
    latency_run_s: float | None = seconds(
        "latency in the run",
        "Seconds that a communication costs inside a step before its bytes: the same line's "
        "intercept, mean over communications."
    )
    t_comm_run_model_s: float | None = seconds(
        "T_comm model in the run",
        "N·(latency + alpha·B) with the run's own two; of hops over devices.", ""
    )
    run_model_error: float | None = figure(
        "", "error of that model", "lower", "percent",
        "T_comm transfer of a launch against the fit of all other launches, relative: median."
    )
    t_comm_scheduling_s: float | None = seconds(
        "T_comm scheduling",
        "The part of T_comm transfer in which a communicating thread was ready to run and had no "
        "core (Linux's run-queue delay), at least: of the processes the one that waited longest."
    )
    t_comm_handling_s: float | None = seconds(
        "T_comm handling",
        "The part of T_comm transfer outside the operations of the framework's own timeline: "
        "queue, negotiation, copies into and out of fused buffers."
    )
    run_over_link: float | None = figure(
        "", "run over link", "lower", "times",
        "T_comm transfer over the idle link's N·(latency + alpha·B) for the same communications."
    )
    comm_reason: str = text(
        "where transfer goes",
        "What T_comm transfer is made of: the idle link's time, and what a step adds to it."
    )
    dispatch_s: float | None = seconds(
        "T_i in dispatch",
        "The part of T_i outside the framework's own operations, by its profiler: Python, "
        "autograd, bookkeeping of split tensors; mean over CPU devices. Empty where T_i is read "
        "from the operations."
    )
    proof: str = text(
        "proven by",
        "What parity is held against: float64 on one device; or, where that takes too much, the "
        "same in float64 of the model's first units, and the losses of all of them."
    )

    launch_step_s: list[float | None] = field(default_factory=list)
    launch_samples: Samples = field(default_factory=dict)
    step_quantiles_s: list[float] = field(default_factory=list)
    step_sample_s: list[float] = field(default_factory=list)
    device_compute_s: list[float] = field(default_factory=list)
    clocked_step_s: float | None = None
    frontier: list[FrontierProbe] = field(default_factory=list)

    @property
    def timed(self) -> bool:
        """Whether the case is ok and at least one launch finished."""
        return self.status == "ok" and self.repeats > 0

    @property
    def step_seconds(self) -> float:
        """The step time of a row that has one.

        Raises:
            ValueError: where the case has not been timed.
        """
        if self.step_time_s is None:
            raise ValueError(f"{self.case_id} has no step time")
        return self.step_time_s


NAMES: tuple[str, ...] = tuple(one.name for one in fields(Row))
