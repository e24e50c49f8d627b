"""A real Ray on two hosts of ``tests.cluster``: a head on the first, another node on the second."""

from __future__ import annotations

import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from tests.cluster import NAMES, Cluster, end_all

READY_SECONDS = 60
PORT = 6379
# What Ray keeps objects in; a run puts none there.
STORE_BYTES = "100000000"


def why_no_ray() -> str:
    """Empty where Ray's program is in PATH."""
    return "" if shutil.which("ray") else "ray is missing (make ray-test installs it)"


@contextmanager
def ray(hosts: Cluster) -> Iterator[dict[str, str]]:
    """The environment of commands that belong to a Ray which runs for as long as the context."""
    environment = hosts.environment() | {"RAY_USAGE_STATS_ENABLED": "0"}
    program = str(shutil.which("ray"))
    common = ["--block", "--num-cpus", "1", "--object-store-memory", STORE_BYTES]
    with ExitStack() as stack:
        # Ray's sockets lie here, and their paths must be short.
        folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="ray"))
        environment |= {"RAY_TMPDIR": folder}
        log = stack.enter_context((Path(folder) / "start.log").open("wb"))
        starts = (["--head", "--port", str(PORT), "--include-dashboard", "false"],
                  ["--address", f"10.200.0.1:{PORT}"])
        for number, start in enumerate(starts):
            line = [*hosts.prefixes[number], program, "start", *start,
                    "--node-ip-address", f"10.200.0.{number + 1}", *common]
            started = subprocess.Popen(line, env=environment, stdout=log, stderr=log)
            stack.callback(started.wait)
            stack.callback(end_all, hosts)
            _await_nodes(hosts, environment, number + 1, Path(log.name))
        yield environment


def _await_nodes(hosts: Cluster, environment: dict[str, str], count: int, log: Path) -> None:
    deadline = time.monotonic() + READY_SECONDS
    while time.monotonic() < deadline:
        told = on_ray(hosts, environment, "nodes")
        if told.stdout.count("10.200.0.") == count:
            return
        time.sleep(0.5)
    raise AssertionError(f"Ray's {NAMES[:count]} are not ready: {told.stderr}\n{log.read_text()}")


def on_ray(
    hosts: Cluster, environment: dict[str, str], *arguments: str
) -> subprocess.CompletedProcess[str]:
    """The suite's own script on Ray, as the harness of the first host runs it."""
    python = str(Path(str(shutil.which("ray"))).absolute().parent / "python")
    return subprocess.run(
        [*hosts.prefixes[0], python, "suite/launch/across/on_ray.py", *arguments],
        env=environment | {"SUITE_JOIN_KEY": "tests"}, capture_output=True, text=True, timeout=90,
        cwd=Path(__file__).parents[1],
    )
