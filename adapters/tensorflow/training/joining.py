"""How the processes of manual placement over hosts become one cluster of TensorFlow."""

from __future__ import annotations

from dataclasses import dataclass

import tensorflow as tf

from adapters.tensorflow.training.orders import Cluster, Driver, Orders
from adapters.tensorflow.training.single import open_devices
from suite.contract.case import Case, Rank


@dataclass(frozen=True)
class Driving:
    """What rank 0 has of the cluster.

    Attributes:
        cluster: The processes.
        driver: Its connections to the other ranks.
        devices: Names of the devices of all ranks, in their order.
    """

    cluster: Cluster
    driver: Driver
    devices: list[str]


def drive(case: Case) -> Driving:
    """Makes this process rank 0, which places operations on the devices of all ranks."""
    open_devices(case, 1)
    cluster = Cluster.read()
    driver = Driver(cluster)  # once this returns, the others' servers are there
    tf.config.experimental_connect_to_cluster(
        cluster.spec, job_name="worker", task_index=0, protocol="grpc"
    )
    names = [f"/job:worker/replica:0/task:{rank}/device:CPU:0" for rank in range(case.devices)]
    return Driving(cluster, driver, names)


@dataclass(frozen=True)
class Serving:
    """What another rank has of the cluster.

    Attributes:
        server: Runs what rank 0 places on the device of this rank, until the process ends.
        orders: Its connection to rank 0.
        device: Name of the device in this process.
    """

    server: tf.distribute.Server
    orders: Orders
    device: str


def serve(case: Case, rank: Rank) -> Serving:
    """Makes this process a server, with the threads of a device of its own."""
    (device,) = open_devices(case, 1)
    cluster, threads = Cluster.read(), tf.config.threading
    server = tf.distribute.Server(
        cluster.spec, job_name="worker", task_index=rank.index, protocol="grpc",
        config=tf.compat.v1.ConfigProto(
            device_count={"CPU": 1},
            intra_op_parallelism_threads=threads.get_intra_op_parallelism_threads(),
            inter_op_parallelism_threads=threads.get_inter_op_parallelism_threads(),
        ),
    )
    return Serving(server, Orders(cluster, rank.index), device)
