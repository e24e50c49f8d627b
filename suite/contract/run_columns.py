"""The columns that followed the first release's, in an order that is as fixed as theirs.

A new column becomes a field of ``suite.contract.row.Row``, which follows these.
"""

from __future__ import annotations

from dataclasses import dataclass

from suite.contract.columns import figure, seconds, text
from suite.contract.core_columns import CoreColumns


@dataclass(slots=True, kw_only=True)
class RunColumns(CoreColumns):
    """What a case's communication, memory, proof and hosts were, in seconds and bytes."""

    t_comm_all_reduce_s: float | None = seconds(
        "T_comm all-reduce", "T_comm of all-reduces alone."
    )
    t_comm_all_gather_s: float | None = seconds(
        "T_comm all-gather", "T_comm of all-gathers, reduce-scatters and broadcasts alone."
    )
    t_comm_send_recv_s: float | None = seconds(
        "T_comm point-to-point", "T_comm of point-to-point transfers alone."
    )
    comm_bytes_logical: float | None = figure(
        "B", "B logical", "lower", "bytes",
        "Mean payload of the communications that the strategy asks for, before the framework puts "
        "several into one bucket."
    )
    comm_count_logical: float | None = figure(
        "", "N logical", "lower", "ratio",
        "Number of communications that the strategy asks for in a step, before the framework puts "
        "several into one bucket."
    )
    t_comm_silent_check_s: float | None = seconds(
        "T_comm check",
        "Clean step time minus the time of the same step with communication switched off. Exposed "
        "T_comm is checked against it."
    )
    load_balance_step: float | None = figure(
        "", "L per step", "lower", "ratio",
        "Sum of max(T_i) over steps, divided by the sum of avg(T_i). It shows imbalance that moves "
        "from device to device, which L averages away."
    )
    slowest_device: str = text(
        "slowest device", "The device with the largest T_i; in a pipeline it is a stage."
    )
    bubble: float | None = figure(
        "", "bubble", "lower", "percent",
        "Share of a pipeline's step in which a device computes nothing, 1 - T_i / step, measured "
        "in steps with probes: mean over devices."
    )
    bubble_ideal: float | None = figure(
        "", "ideal bubble", "lower", "percent",
        "The bubble of an ideal pipeline, (p-1)/(v*m+p-1): p devices with v equal stages each, m "
        "micro-batches (Huang et al. 2019, Narayanan et al. 2021)."
    )
    traced_overhead: float | None = figure(
        "", "profiler overhead", "lower", "percent",
        "How much longer a step takes under the framework's profiler than without it."
    )
    first_step_s: float | None = seconds(
        "first step",
        "Time of the first training step of a launch, in which the framework builds and allocates "
        "what it needs: slowest rank, median over launches."
    )
    base_case_id: str = text("base", "The single-device case that the speedup is relative to.")
    base_step_time_s: float | None = seconds("base step time", "Step time of the base.", "")
    verdict: str = text(
        "verdict",
        "Whether the case is faster than its base, slower, or a tie, by the interval of the "
        "speedup. It says not comparable where the two were measured differently, and is empty "
        "where there is no interval."
    )
    stopped: str = text(
        "stopped by",
        "Why no more launches were made: the precision was reached, the budget was spent, the "
        "number of repeats was reached, or halving left the case out (--strategy auto)."
    )
    contention: float | None = figure(
        "", "contention", "lower", "times",
        "T_comm transfer divided by T_comm model: how much more the same bytes cost inside a step "
        "than on the idle link."
    )
    comm_verdict: str = text(
        "is this normal?", "Whether T_comm transfer is what the idle link lets one expect."
    )
    ledger: dict[str, str] = text(
        "ledger",
        "Fairness ledger as JSON: the settings with which the case was measured. Rows are not "
        "compared if they differ in an entry that must be equal.", default=dict
    )
    mesh: str = text("mesh", "How many devices lie along each axis of a combined strategy.")
    accumulate: int = text(
        "accumulated",
        "How many micro-batches a device adds up the gradients of before the one update of a step. "
        "The micro-batches of a pipeline are multiplied by it.", default=1
    )
    max_batch: int | None = figure(
        "", "largest batch", "higher", "text",
        "Largest global batch that fits into memory, within the resolution asked for "
        "(--find-max-batch)."
    )
    max_batch_memory_bytes: int | None = figure(
        "B", "memory at it", "", "bytes",
        "Peak memory of the largest process at the largest batch: its resident set on CPUs, its "
        "allocator on GPUs."
    )
    max_batch_throughput_samples_s: float | None = figure(
        "1/s", "samples/s at it", "higher", "rate",
        "Largest batch divided by the median step of its probe: a few steps of one launch, whose "
        "results are not proven."
    )
    failed_batch: int | None = figure(
        "", "smallest that failed", "", "text",
        "Smallest global batch that was tried and did not fit."
    )
    failed_batch_reason: str = text(
        "why it failed", "How that batch failed (oom, timeout or failed), and why."
    )
    memory_limit_bytes: int | None = figure(
        "B", "memory limit", "", "bytes",
        "Memory that a process (on GPUs: its allocator) was allowed in these probes: the limit of "
        "a device times the number of devices that the process drives."
    )
    device_speeds: str = text(
        "device speeds",
        "Relative speed of each device, by which shares of the batch or stages were planned "
        "(--device-speeds). Empty where all devices get equal parts."
    )
    mfu_datasheet: float | None = figure(
        "", "MFU of datasheet", "higher", "percent",
        "Model FLOP/s of a GPU, as a share of the dense peak that its vendor prints for the number "
        "format."
    )
    device_memory_bytes: int | None = figure(
        "B", "GPU memory in use", "lower", "bytes",
        "Memory in use on the fullest GPU at the end of a launch, by any process, with contexts "
        "and communication buffers. Empty on CPUs.", from_ranks="largest"
    )
    matmul_flops_s: float | None = figure(
        "1/s", "matrix product FLOP/s", "higher", "rate",
        "Rate at which the framework itself multiplies square matrices on one device in the case's "
        "number format, at the end of launches with probes: median.", from_ranks="median"
    )
    alpha_run_s_per_byte: float | None = figure(
        "s/B", "alpha in the run", "lower", "alpha",
        "Seconds that a payload byte costs inside a step: the slope of the line fitted to the "
        "transfers of the timed steps, and never less than the idle link's. If a step uses several "
        "kinds of communication, each kind counts by its bytes."
    )
    latency_run_s: float | None = seconds(
        "latency in the run",
        "Seconds that a communication costs inside a step before its first byte: the intercept of "
        "the same line, mean over communications."
    )
    t_comm_run_model_s: float | None = seconds(
        "T_comm model in the run",
        "N·(latency + alpha·B) with latency and alpha of this run. Point-to-point transfers are "
        "divided by the number of devices.", ""
    )
    run_model_error: float | None = figure(
        "", "error of that model", "lower", "percent",
        "How far the T_comm transfer of a launch is from what a fit to all other launches "
        "predicts, relative: median over launches."
    )
    t_comm_scheduling_s: float | None = seconds(
        "T_comm scheduling",
        "The part of T_comm transfer in which a thread that communicates was ready to run but had "
        "no core (Linux's run-queue delay): a lower bound, from the process that waited longest. "
        "Between devices of one process, in which all threads of its pool computed."
    )
    t_comm_handling_s: float | None = seconds(
        "T_comm handling",
        "The part of T_comm transfer outside the operations on the framework's own timeline: "
        "queueing, negotiation between ranks, copies into and out of fused buffers."
    )
    run_over_link: float | None = figure(
        "", "run over link", "lower", "times",
        "T_comm transfer divided by N·(latency + alpha·B) of the idle link for the same "
        "communications."
    )
    comm_reason: str = text(
        "where transfer goes",
        "What T_comm transfer consists of: the time that the idle link takes, and what is added "
        "inside a step."
    )
    dispatch_s: float | None = seconds(
        "dispatch",
        "Busy time of a step outside the framework's own operations, as its profiler sees them: "
        "Python, autograd, bookkeeping of split tensors. Mean over CPU devices; empty where the "
        "operations themselves are the clock. T_i is without it, if there is a busy time."
    )
    hosts: int = text("hosts", "Number of hosts that the devices are on.", 1)
    topology: str = text(
        "devices by host",
        "The hosts that the ranks ran on and how many ranks each had, in the order of the ranks."
    )
    clock_uncertainty_s: float | None = figure(
        "s", "clock uncertainty", "lower", "seconds",
        "How far the clocks of two hosts may have been apart after their offset was subtracted; "
        "waiting and transfer can be told apart no better. Empty on one host.",
        from_ranks="largest"
    )
    launch_s: float | None = seconds(
        "whole launch",
        "From the start of a launch's first process to the end of its last: median over launches.",
        ""
    )
    recompute: str = text(
        "recomputed",
        "blocks if the backward pass computes the inside of each unit of the model again instead "
        "of keeping it, else none. FLOPs stay those of the model.", default="none"
    )
    balance: str = text(
        "balance",
        "dynamic if the replicas' shares of the batch, or the stages of a pipeline, follow busy "
        "times (--balance dynamic); empty if they stay as planned."
    )
    share_changes: float | None = figure(
        "", "changes of shares", "", "ratio",
        "How often the shares or stages of a launch changed from its first step to its last clean "
        "one, median over launches; empty if they never did.", from_ranks="median"
    )
    load_balance_shares: float | None = figure(
        "", "L of shares", "lower", "ratio",
        "max over mean of the seconds that replicas were busy with their shares, or stages with "
        "their layers, waits for a core included: median of a launch's last ten clean steps, "
        "median over launches. Only with dynamic balance.", from_ranks="median"
    )
    proof: str = text(
        "proven by",
        "What parity is held against: float64 on one device; or, where that takes too much, the "
        "same in float64 of the model's first units, and the losses of all of them."
    )
    padded: int = text("padded to", "What the vocabulary is padded to a multiple of, or 0. The "
                       "padding counts in B and memory, and neither in the loss nor in FLOPs.", 0)
