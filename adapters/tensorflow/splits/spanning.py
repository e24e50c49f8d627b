"""Manual placement over several processes: rank 0 places operations on the devices of all.

Each of the other ranks runs a ``tf.distribute.Server``, and rank 0 connects to them
(``tf.config.experimental_connect_to_cluster``). A tensor that one device makes and another one
reads travels over gRPC, by a send and a receive that TensorFlow itself puts into the graph.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from adapters.tensorflow.splits.inter_layer import InterLayerSession
from adapters.tensorflow.splits.intra_layer import IntraLayerSession
from adapters.tensorflow.splits.towers import TowersSession, tower_case
from adapters.tensorflow.training import xplane
from adapters.tensorflow.training.joining import Driving, drive
from adapters.tensorflow.training.single import Training
from adapters.tensorflow.training.stamps import Stamps
from suite.contract.adapter import Inputs, StepTrace
from suite.contract.case import Case
from suite.contract.records import CommEvent
from suite.contract.workloads import Weights

NO_CLOCK = ("T_i: the threads of a process also carry what travels, and only a profile tells it "
            "from computing")


class Spanning(Training):
    """Comes before the class of a split: its devices are those of all ranks.

    Implements ``suite.contract.driven.Drives``. What the probes and the profile say of another
    rank's device goes into that rank's record, because it is on the clock of that rank's host.
    """

    no_clock = NO_CLOCK

    def __init__(self, driving: Driving, *arguments: Any) -> None:
        self.cluster, self.driver = driving.cluster, driving.driver
        super().__init__(*arguments)

    def make_stamps(self) -> Stamps:
        """Makes stamps of all devices, on the clocks of their hosts."""
        return Stamps(self.devices, self.cluster.hosts)

    def moment(self, name: str, told: Mapping[str, Any] | None = None) -> None:
        """Tells the driven ranks of a moment; returns once each has done what it does then."""
        self.driver.ask("moment", name=name, told=told)

    def over(self, told: Mapping[str, Any]) -> None:
        """Lets the driven ranks end."""
        self.driver.tell("over", told=told)

    def node_devices(self, build: Any) -> None:
        """Runs a graph for the first time; this process runs nothing but its own device's."""
        build()

    def timed_step(self, index: int) -> StepTrace:
        """Runs a step with stamps on all devices; returns what they say of this rank's."""
        return self._dealt("timed", super().timed_step(index))

    def traced_step(self, index: int, timeline: Path | None) -> StepTrace:
        """Runs a step with stamps while all ranks profile themselves.

        Args:
            index: Number of the global batch.
            timeline: Where to write this rank's profile as Chrome-trace JSON, if anywhere.
        """
        graph, _ = self._stamped(index)
        times: list[float] = []

        def run() -> None:
            self.driver.ask("begin")
            times.append(time.time())
            self.run(graph, index)
            times.append(time.time())
            self.driver.ask("end")

        self.driver.ask("profile")
        space = xplane.record(run)
        began, ended = times
        whole = StepTrace(self.stamps.events(), seconds=ended - began)
        own = self._dealt("traced", whole, timeline=timeline is not None)
        executed = xplane.operations(space, None)
        if timeline:
            xplane.write_timeline(timeline, executed, own.events)
        return replace(own, busy=[xplane.compute_clock(executed, 0, began, ended, at_once=1)])

    def _dealt(self, order: str, trace: StepTrace, **fields: Any) -> StepTrace:
        """Tells every other rank its device's part of a trace; returns this rank's part."""
        own, *others = by_device(trace.events, len(self.devices))
        told = {"missing": trace.missing, "seconds": trace.seconds, **fields}
        each = [{"events": [asdict(event) for event in events]} for events in others]
        self.driver.tell(order, each, **told)
        return replace(trace, events=own)

    def describe(self) -> dict[str, str]:
        """Returns the session's entries of the ledger, with what carries tensors."""
        return super().describe() | {"backend": "gRPC", "shared_pool": "false"}


def by_device(events: Sequence[CommEvent], devices: int) -> list[list[CommEvent]]:
    """Sorts communications by device; each becomes device 0 of the rank that it belongs to.

    Args:
        events: The communications of all devices.
        devices: How many devices there are.
    """
    return [[replace(event, device=0) for event in events if event.device == number]
            for number in range(devices)]


class SpanningIntraLayer(Spanning, IntraLayerSession):
    """Layers are split over the devices of several processes."""


class SpanningInterLayer(Spanning, InterLayerSession):
    """Stages are on the devices of several processes."""


class SpanningTowers(Spanning, TowersSession):
    """Replicas that are split themselves, over the devices of several processes."""


SPLITS: dict[str, Any] = {"intra_layer": (SpanningIntraLayer, IntraLayerSession),
                          "inter_layer": (SpanningInterLayer, InterLayerSession)}


def open_spanning(case: Case, weights: Weights, inputs: Inputs) -> Spanning:
    """Opens the session of rank 0.

    Args:
        case: The case.
        weights: Canonical name to initial parameter.
        inputs: The global batches.
    """
    driving = drive(case)
    outer, *inner = case.axes.names
    if not inner:
        return SPLITS[outer][0](driving, case, weights, inputs, driving.devices)
    (axis,) = tower_case(case, case.devices // case.axes.size("data")).axes.names
    return SpanningTowers(driving, SPLITS[axis][1], case, weights, inputs, driving.devices)
