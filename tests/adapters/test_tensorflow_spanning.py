"""Manual placement over processes: its plan, what rank 0 says to the others, and its stamps."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from adapters.tensorflow import DRIVER, launch_plan_on, unsupported_reason
from suite.contract.case import Case
from suite.contract.hosts import Host
from suite.contract.records import CommEvent
from suite.contract.splits.strategies import MULTI_WORKER

pytest.importorskip("tensorflow")
from adapters.tensorflow.splits.spanning import by_device  # noqa: E402
from adapters.tensorflow.training.orders import Cluster, Driver, Orders  # noqa: E402
from adapters.tensorflow.training.stamps import Stamps  # noqa: E402

PLACED = Case("tensorflow", "tensorflow", "intra_layer", "", "mlp", "tiny", "synthetic", "cpu", 3,
              hosts=2)
HOSTS = [Host("a", 2, "10.0.0.1", "eth0", (1001, 1002, 1003)), Host("b", 1, "10.0.0.2", "eth0",
                                                                  (2001, 2002))]


def test_each_device_has_a_server_and_rank_0_one_more_port() -> None:
    plan = launch_plan_on(PLACED, Path(), "python", HOSTS)
    tasks = ["10.0.0.1:1001", "10.0.0.1:1002", "10.0.0.2:2001"]
    assert plan.processes == 3
    for rank, own in enumerate(plan.environment):
        config = json.loads(own["TF_CONFIG"])
        assert config["cluster"]["worker"] == tasks and config["task"]["index"] == rank
        assert own[DRIVER] == "10.0.0.1:1003"  # which no server has
        found = Cluster.read(own)
        assert found.meeting == ("10.0.0.1", 1003)
        assert found.hosts == ["10.0.0.1", "10.0.0.1", "10.0.0.2"]
    workers = launch_plan_on(replace(PLACED, strategy="data", variant=MULTI_WORKER), Path(),
                             "python", HOSTS)
    assert all(DRIVER not in own for own in workers.environment)


def test_manual_placement_spans_hosts_on_cpus_and_mirrored_variables_do_not() -> None:
    towers = replace(PLACED, strategy="data+inter_layer", devices=4)
    assert unsupported_reason(PLACED) == ""
    assert unsupported_reason(replace(towers, variant="gpipe")) == ""
    assert "--variant multi_worker" in unsupported_reason(replace(PLACED, strategy="data"))
    assert "offered for CPUs" in unsupported_reason(replace(PLACED, device="cuda"))


@pytest.fixture
def cluster() -> Iterator[Cluster]:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    yield Cluster(["127.0.0.1:1", "127.0.0.1:2", "127.0.0.1:3"], ("127.0.0.1", port))


def _joined(cluster: Cluster) -> tuple[Driver, dict[int, Orders]]:
    """Rank 0 and the two others, of whom the last comes first."""
    orders: dict[int, Orders] = {}

    def join() -> None:
        for rank in (2, 1):
            orders[rank] = Orders(cluster, rank)

    thread = threading.Thread(target=join)
    thread.start()
    driver = Driver(cluster)
    thread.join(10)
    return driver, orders


def test_rank_0_goes_on_once_all_have_done_as_told(cluster: Cluster) -> None:
    driver, orders = _joined(cluster)
    done: list[int] = []

    def serve(rank: int) -> None:
        order = orders[rank].next("moment")
        assert order["name"] == "clean steps"
        done.append(rank)
        orders[rank].done()

    threads = [threading.Thread(target=serve, args=(rank,)) for rank in (1, 2)]
    for thread in threads:
        thread.start()
    driver.ask("moment", name="clean steps")
    assert sorted(done) == [1, 2]
    driver.tell("timed", [{"mine": "of rank 1"}, {"mine": "of rank 2"}], seconds=0.5)
    told = {rank: orders[rank].next() for rank in (2, 1)}
    assert [told[rank]["mine"] for rank in (1, 2)] == ["of rank 1", "of rank 2"]
    assert told[1]["seconds"] == 0.5


def test_an_order_out_of_turn_and_a_lost_rank_0_are_errors(cluster: Cluster) -> None:
    driver, orders = _joined(cluster)
    driver.tell("end")
    with pytest.raises(ConnectionError, match="said 'end', expected 'begin'"):
        orders[1].next("begin")
    for connection in driver.ranks:
        connection.close()
    with pytest.raises(ConnectionError, match="rank 0, which drives the device of this rank"):
        orders[1].next()


def test_a_device_of_its_own_is_device_0_of_its_rank() -> None:
    events = [_event(0, "a"), _event(2, "b"), _event(2, "c")]
    own, second, third = by_device(events, 3)
    assert [event.key for event in own] == ["a"] and second == []
    assert [(event.key, event.device) for event in third] == [("b", 0), ("c", 0)]


def _event(device: int, key: str) -> CommEvent:
    return CommEvent("send_recv", 8, 0.0, 1.0, device=device, key=key, role="recv")


class _Time:
    """Stands in for a stamp's variable."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds

    def __float__(self) -> float:
        return self.seconds


@pytest.mark.parametrize(("hosts", "sent_at"), [
    ((), 5.0),  # of one clock: nothing is sent after it is there
    (("a", "a"), 5.0),
    (("a", "b"), 2000.0),  # host a's clock is far ahead; the two are not compared
])
def test_stamps_of_different_hosts_are_not_compared(hosts: Any, sent_at: float) -> None:
    stamps = Stamps(["/CPU:0", "/CPU:1"], hosts)
    ready, idle, there = _Time(2000.0), _Time(4.0), _Time(5.0)
    stamps.sent("hop", 0, 8, ready)  # type: ignore[arg-type]
    stamps.received("hop", 1, 8, idle, there)  # type: ignore[arg-type]
    sent, received = stamps.events()
    assert sent.start_s == sent_at
    assert (received.start_s, received.end_s) == (4.0, 5.0)
