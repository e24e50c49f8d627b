"""What the rank that places operations on all hosts says to the ranks whose devices it drives.

TensorFlow's servers run what is placed on them and tell their own process nothing of it. So the
process learns here when a pass begins and when a step is to be profiled. Nothing is said while a
step is timed.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing import AuthenticationError
from multiprocessing.connection import Client, Connection, Listener
from typing import Any

import tensorflow as tf

from adapters.tensorflow import DRIVER

JOIN_SECONDS, POLL_SECONDS = 120.0, 0.05
LOST = "rank 0, which drives the device of this rank, has ended"


@dataclass(frozen=True)
class Cluster:
    """The processes of a launch, as the launch plan tells them: a task for each device.

    Attributes:
        tasks: Address and port of each task's TensorFlow server, in the order of the ranks.
        meeting: Address and port at which rank 0 takes in the others.
    """

    tasks: Sequence[str]
    meeting: tuple[str, int]

    @classmethod
    def read(cls, environment: Mapping[str, str] = os.environ) -> Cluster:
        """Reads ``TF_CONFIG`` and the address of rank 0."""
        address, _, port = environment[DRIVER].rpartition(":")
        return cls(json.loads(environment["TF_CONFIG"])["cluster"]["worker"], (address, int(port)))

    @property
    def spec(self) -> tf.train.ClusterSpec:
        """The cluster as TensorFlow takes it."""
        return tf.train.ClusterSpec({"worker": list(self.tasks)})

    @property
    def hosts(self) -> list[str]:
        """The address of each task's host."""
        return [task.rpartition(":")[0] for task in self.tasks]

    @property
    def key(self) -> bytes:
        """What keeps strangers out that happen to connect; it is no secret."""
        return json.dumps(self.tasks).encode()


class Driver:
    """Rank 0's connections to all others, in the order of the ranks.

    Args:
        cluster: The processes of the launch; this waits until the others have joined.
    """

    def __init__(self, cluster: Cluster) -> None:
        joined: dict[int, Connection] = {}
        others = len(cluster.tasks) - 1
        with Listener(cluster.meeting, backlog=others, authkey=cluster.key) as listener:
            while len(joined) < others:
                with suppress(AuthenticationError, EOFError):  # a stranger
                    connection = listener.accept()
                    joined[_received(connection)["rank"]] = connection
        self.ranks = [joined[rank] for rank in sorted(joined)]

    def tell(self, order: str, each: Sequence[Mapping[str, Any]] = (), **fields: Any) -> None:
        """Gives an order to all ranks.

        Args:
            order: Name of the order.
            each: What to tell each of the ranks besides.
            fields: What to tell all of them.
        """
        for number, connection in enumerate(self.ranks):
            own = each[number] if each else {}
            _send(connection, {"order": order, **fields, **own})

    def ask(self, order: str, **fields: Any) -> None:
        """Gives an order to all ranks; returns once each has carried it out."""
        self.tell(order, **fields)
        for connection in self.ranks:
            _received(connection)


class Orders:
    """A driven rank's connection to rank 0.

    Args:
        cluster: The processes of the launch.
        rank: Number of this rank.

    Raises:
        ConnectionError: Rank 0 is not there.
    """

    def __init__(self, cluster: Cluster, rank: int) -> None:
        self._connection = _connected(cluster)
        _send(self._connection, {"rank": rank})

    def next(self, expected: str = "") -> dict[str, Any]:
        """Waits for the next order.

        Args:
            expected: Name of the only order that may come now; any may by default.

        Raises:
            ConnectionError: Rank 0 has ended.
        """
        try:
            order = _received(self._connection)
        except (EOFError, OSError) as error:
            raise ConnectionError(LOST) from error
        if expected not in ("", order["order"]):
            raise ConnectionError(f"rank 0 said {order['order']!r}, expected {expected!r}")
        return order

    def done(self) -> None:
        """Says that an order is carried out."""
        with suppress(OSError):  # the next order tells that rank 0 has ended
            _send(self._connection, {})

    def close(self) -> None:
        """Leaves rank 0."""
        self._connection.close()


def _connected(cluster: Cluster) -> Connection:
    deadline = time.monotonic() + JOIN_SECONDS
    while True:
        try:
            return Client(cluster.meeting, family="AF_INET", authkey=cluster.key)
        except OSError as error:
            if time.monotonic() > deadline:
                raise ConnectionError(f"rank 0 is not at {cluster.meeting} ({error})") from error
            time.sleep(POLL_SECONDS)


def _send(connection: Connection, message: Mapping[str, Any]) -> None:
    connection.send_bytes(json.dumps(message).encode())


def _received(connection: Connection) -> dict[str, Any]:
    return dict(json.loads(connection.recv_bytes()))
