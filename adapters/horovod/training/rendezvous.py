"""Horovod's own rendezvous servers for one launch.

    python -m adapters.horovod.training.rendezvous PROCESSES OUTPUT_JSON INTERFACE

Writes the variables that tell the ranks where they are, then serves until it is ended. They listen
on every address; the ranks are told the one of ``INTERFACE``, which all of them can reach. A server
keeps what the ranks said when they joined, so each time they join again there is another.
"""

from __future__ import annotations

import json
import os
import sys
import time
from pathlib import Path

from horovod.runner.common.util.hosts import get_host_assignments, parse_hosts
from horovod.runner.http.http_server import RendezvousServer

from adapters.horovod.training.interfaces import address_of
from adapters.horovod.training.timeline import JOINS, SPARE_PORTS


def main() -> None:
    """Entry point of the process."""
    parent = os.getppid()
    processes, output = int(sys.argv[1]), Path(sys.argv[2])
    first, *spare = [str(_serve(processes)) for _ in range(JOINS)]
    where = {
        "HOROVOD_GLOO_RENDEZVOUS_ADDR": address_of(sys.argv[3]),
        "HOROVOD_GLOO_RENDEZVOUS_PORT": first,
        SPARE_PORTS: ",".join(spare),
    }
    part = output.with_suffix(".part")
    part.write_text(json.dumps(where), encoding="utf-8")
    part.replace(output)
    while os.getppid() == parent:  # a harness that was killed must leave nothing behind
        time.sleep(0.5)


def _serve(processes: int) -> int:
    """The port of a new server."""
    server = RendezvousServer(0)
    port = int(server.start())
    server.init(get_host_assignments(parse_hosts(f"localhost:{processes}"), processes))
    return port


if __name__ == "__main__":
    main()
