"""One row of the comparison: what a case is, and every figure that its launches gave.

The fields that are made with ``text``, ``seconds`` or ``figure`` are the columns of ``results.csv``
in their order, each with its unit, label, format and definition; ``suite.contract.metrics`` reads
the table of metrics from them. The inherited ``CoreColumns`` and ``RunColumns`` come first. The
fields at the end of ``Row`` are no columns: only the page, comparisons and the JSON output use
them.
"""

from __future__ import annotations

from dataclasses import dataclass, field, fields

from suite.contract.case import WEAK
from suite.contract.columns import RATIO, figure, seconds, text
from suite.contract.records import FrontierProbe, ShareCourse
from suite.contract.run_columns import RunColumns

# Column -> its figure in each block of the run; None where the block's launch has no such figure.
Samples = dict[str, list[float | None]]


@dataclass(slots=True, kw_only=True)
class Row(RunColumns):
    """A case of a run with all its figures, in seconds and bytes; None where a figure is missing.

    Attributes:
        launch_step_s: Median step of each block's launch; None where the launch failed.
        launch_samples: The same for every metric that single launches have.
        step_quantiles_s: Quantiles of all clean steps, at ``launch_figures.QUANTILES``.
        step_sample_s: A bounded sample of the clean steps, in the order they ran.
        device_compute_s: Busy compute time T_i of each device.
        clocked_step_s: Length of the step in which T_i was measured.
        frontier: The probes of ``--find-max-batch``.
        share_course: Shares or stages that ``--balance dynamic`` chose, in one launch.
    """

    scaling: str = text(
        "scaling",
        "What stays the same as devices are added: strong, the batch of a step; weak, the batch of "
        "a device (--scaling). Empty for a single device, which is the base of both."
    )
    efficiency_ci_low: float | None = figure(
        "", "efficiency, low", "higher", "percent",
        "Lower end of the speedup's interval, divided by the number of devices."
    )
    efficiency_ci_high: float | None = figure(
        "", "efficiency, high", "higher", "percent",
        "Upper end of the speedup's interval, divided by the number of devices."
    )
    host_base_case_id: str = text(
        "base of hosts",
        "The same way of splitting on the fewest hosts of the run, with the most devices there: "
        "what the speedup of hosts is relative to. Empty for that case itself, and where all cases "
        "are on equally many hosts."
    )
    host_speedup: float | None = figure(
        "", "speedup of hosts", "higher", "times",
        "How many times as fast as on the fewest hosts, measured as the speedup is: the "
        "Hodges-Lehmann estimate, with launches of the same block paired."
    )
    host_speedup_ci_low: float | None = figure(
        "", "speedup of hosts, low", "higher", "times", f"Lower end of the 95 % interval. {RATIO}"
    )
    host_speedup_ci_high: float | None = figure(
        "", "speedup of hosts, high", "higher", "times", f"Upper end of the 95 % interval. {RATIO}"
    )
    host_efficiency: float | None = figure(
        "", "efficiency of hosts", "higher", "percent",
        "Speedup of hosts, divided by how many times as many devices there are. With equally many "
        "devices on each host that is how many times as many hosts."
    )
    t_comm_negotiation_s: float | None = seconds(
        "T_comm negotiation",
        "The part of T_comm handling before the library takes a communication up: the wait for its "
        "next cycle and for all ranks' answers. T_comm transfer times the share that this has in "
        "traced steps, by the library's own timeline."
    )
    t_comm_copy_s: float | None = seconds(
        "T_comm copies",
        "Copies within T_comm transfer: into and out of a library's buffers, by its own timeline "
        "(a share of traced steps, as above), or those of PyTorch's functional collectives, as its "
        "profiler sees them."
    )
    busy_avg_s: float | None = seconds(
        "busy time",
        "T_i and dispatch together, mean over devices. Rows of releases that did not write it have "
        "the dispatch in T_i."
    )

    transport: str = text(
        "transport asked for",
        "tcp or rdma, where --transport asked for a network between hosts; empty where the "
        "framework's library chose."
    )
    transport_used: str = text(
        "transport",
        "How tensors travelled, by the library's own words: NVLink, PCIe peer to peer, shared "
        "memory, TCP, RoCE or InfiniBand, with GPUDirect where the card reads a GPU's memory. "
        "NCCL says it as it connects; gloo and gRPC have TCP alone."
    )
    transport_words: str = text(
        "NCCL's words", "The kinds of connection in NCCL's log of the launches, each once."
    )
    network_bytes: str = text(
        "received by interface",
        "Bytes that each network interface and each RDMA port of a host received in a clean step: "
        "of the host with most, median over launches. Other programs' bytes are among them."
    )
    ip_bytes: float | None = figure(
        "B", "received by IP", "", "bytes",
        "The sum of these over network interfaces, lo included: what travelled as IP packets."
    )
    rdma_bytes: float | None = figure(
        "B", "received by RDMA", "", "bytes",
        "The sum of these over RDMA ports. Their cards count what passes the kernel by."
    )
    cut: str = text(
        "units of stages",
        "How many units of the model each stage has (--cut); empty where FLOPs are balanced."
    )
    choice: str = text(
        "choice",
        "Of a run with --strategy auto: chosen if it chose this case, the fastest that it ran, or "
        "plain data parallelism where that is not shown to be slower; otherwise not chosen."
    )
    t_comm_turns_s: float | None = seconds(
        "T_comm in turns",
        "How much longer than T_comm scheduling threads may have been without a core, at most: "
        "processes that wait in turns within a transfer wait longer together than the one that "
        "waited longest."
    )
    cut_found: str = text(
        "last cut",
        "With dynamic balance of a pipeline: how many units each stage had in the last clean step, "
        "in the launch whose stages changed most often; --cut begins with them."
    )
    cut_moves_s: float | None = figure(
        "s", "moving layers", "lower", "seconds",
        "With dynamic balance of a pipeline: how long layers were moved between stages in a "
        "launch, in all and outside of its steps, median over launches.", from_ranks="median"
    )
    timed_steps: float | None = figure(
        "", "timed steps", "", "ratio",
        "Steps that a launch with probes timed, from which T_comm comes: median over launches. "
        "They are --probe-steps, or more where --probe-precision needed them."
    )

    launch_step_s: list[float | None] = field(default_factory=list)
    launch_samples: Samples = field(default_factory=dict)
    step_quantiles_s: list[float] = field(default_factory=list)
    step_sample_s: list[float] = field(default_factory=list)
    device_compute_s: list[float] = field(default_factory=list)
    clocked_step_s: float | None = None
    frontier: list[FrontierProbe] = field(default_factory=list)
    share_course: ShareCourse | None = None

    @property
    def timed(self) -> bool:
        """Whether the case is ok and at least one launch finished."""
        return self.status == "ok" and self.repeats > 0

    @property
    def base_batch(self) -> int:
        """Samples in a step of the single device that the row's speedup is relative to."""
        return self.global_batch // self.devices if self.scaling == WEAK else self.global_batch

    @property
    def work(self) -> int:
        """How many times the work of its base a step of this row does: 1 unless it has grown."""
        return self.devices if self.scaling == WEAK else 1

    @property
    def step_seconds(self) -> float:
        """The step time in seconds, for rows that are known to have one.

        Raises:
            ValueError: The case has not been timed.
        """
        if self.step_time_s is None:
            raise ValueError(f"{self.case_id} has no step time")
        return self.step_time_s


NAMES: tuple[str, ...] = tuple(column.name for column in fields(Row))
