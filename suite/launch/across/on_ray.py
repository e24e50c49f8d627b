"""What Ray runs for the suite: it lists Ray's nodes, and starts a follower on each of some.

    python on_ray.py nodes
    python on_ray.py start HOSTS COMMAND…      HOSTS are name:slots,name:slots

It is run by its path with the interpreter that has Ray, which may be another one than the suite's,
so it imports nothing but Python's own library and Ray. A placement group takes the devices that
the run uses, as many as ``slots``, from what Ray may give to others; they go back with that group.
"""

from __future__ import annotations

import ctypes
import json
import os
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

# Set by the harness (suite.launch.across.channel), and read by the follower.
KEY, PLACE = "SUITE_JOIN_KEY", "SUITE_HOST_NUMBER"
# How long Ray may take to find the devices free; before the harness gives the followers up.
RESERVE_SECONDS = 45.0
PR_SET_PDEATHSIG = 1
# How much of a node's own mark is asked for, so that a bundle can be on no other node.
HERE = 0.001


def main() -> int:
    """Entry point of the process; returns its exit code."""
    _end_with_parent()
    try:
        import ray
    except ImportError as error:
        print(f"Ray cannot be imported by {sys.executable} ({error})", file=sys.stderr)
        return 2
    try:
        # Without an address Ray would start a cluster of its own, on this machine alone.
        ray.init(os.environ.get("RAY_ADDRESS", "auto"), log_to_driver=True, logging_level="error")
        if sys.argv[1:2] == ["nodes"]:
            print(json.dumps(_names(_nodes(ray))))
            return 0
        return _start(ray, sys.argv[2], sys.argv[3:])
    except Exception as error:  # one line is what the harness shows of it
        print(f"{type(error).__name__}: {' '.join(str(error).split())}", file=sys.stderr)
        return 1


def _nodes(ray: Any) -> list[dict[str, Any]]:
    """Returns the nodes that are alive, this one first, then by their addresses."""
    own = ray.get_runtime_context().get_node_id()
    alive = [node for node in ray.nodes() if node["Alive"]]
    return sorted(alive, key=lambda node: (node["NodeID"] != own, node["NodeManagerAddress"]))


def _names(nodes: Sequence[Mapping[str, Any]]) -> list[str]:
    """Lists addresses, because a node's name need not resolve on the others."""
    return [str(node["NodeManagerAddress"]) for node in nodes]


def _start(ray: Any, hosts: str, command: list[str]) -> int:
    """Runs the command on each host until it ends there; returns the first exit code but 0."""
    from ray.util.scheduling_strategies import PlacementGroupSchedulingStrategy

    bundles = [_bundle(*_found(_nodes(ray), host)) for host in hosts.split(",")]
    group = ray.util.placement_group(bundles, strategy="STRICT_SPREAD")
    if not group.wait(RESERVE_SECONDS):
        print(f"Ray has not had {json.dumps(bundles)} free within {RESERVE_SECONDS:g} s: "
              "see `ray status` for who uses it", file=sys.stderr)
        return 1
    run = ray.remote(run_here)
    running = [
        run.options(
            num_cpus=bundle.get("CPU", 0), num_gpus=bundle.get("GPU", 0), max_retries=0,
            scheduling_strategy=PlacementGroupSchedulingStrategy(
                placement_group=group, placement_group_bundle_index=number
            ),
        ).remote(command, str(Path.cwd()), _passed(number))
        for number, bundle in enumerate(bundles)
    ]
    return next(filter(None, ray.get(running)), 0)


def _found(nodes: Sequence[dict[str, Any]], host: str) -> tuple[dict[str, Any], int]:
    """Finds the node that a host means, by name or address, and the host's slots.

    Raises:
        ValueError: No node of the cluster has that name or address.
    """
    name, _, slots = host.rpartition(":")
    for node in nodes:
        if name in (node["NodeManagerHostname"], node["NodeManagerAddress"], node.get("NodeName")):
            return node, int(slots)
    raise ValueError(f"Ray has no node {name}, only {', '.join(_names(nodes))}")


def _bundle(node: Mapping[str, Any], slots: int) -> dict[str, float]:
    """Says what to reserve on a node: devices for its slots, and a share of its own resource."""
    there: dict[str, float] = node["Resources"]
    devices = {kind: min(slots, there.get(kind, 0)) for kind in ("CPU", "GPU")}
    return {kind: count for kind, count in devices.items() if count} | {
        f"node:{node['NodeManagerAddress']}": HERE
    }


def _passed(number: int) -> dict[str, str]:
    """Returns the variables of a follower beside those of Ray's node."""
    return {PLACE: str(number), KEY: os.environ[KEY], "PATH": os.environ["PATH"]}


def run_here(command: list[str], folder: str, passed: dict[str, str]) -> int:
    """Runs the command on a node, ended with the worker process that Ray gave it."""
    process = subprocess.Popen(
        command, cwd=folder, env={**os.environ, **passed}, preexec_fn=_end_with_parent
    )
    return process.wait()


def _end_with_parent() -> None:
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGTERM)


if __name__ == "__main__":
    sys.exit(main())
