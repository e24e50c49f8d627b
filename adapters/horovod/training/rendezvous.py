"""Runs Horovod's own rendezvous servers for one launch.

    python -m adapters.horovod.training.rendezvous PROCESSES OUTPUT_JSON INTERFACE

It writes the variables that tell the ranks where the servers are, and serves until it is ended. The
servers listen only on the address of ``INTERFACE``, which all ranks can reach; on a single machine
nobody else can join or listen in. A server remembers what the ranks said when they joined, so there
is a server for each time that they join.
"""

from __future__ import annotations

import json
import os
import sys
import threading
import time
from pathlib import Path

from horovod.runner.common.util.hosts import get_host_assignments, parse_hosts
from horovod.runner.http.http_server import (
    RendezvousHandler,
    RendezvousHTTPServer,
    RendezvousServer,
)

from adapters.horovod.training.interfaces import address_of
from adapters.horovod.training.timeline import JOINS, SPARE_PORTS


def main() -> None:
    """Serves for the ranks of one launch until the harness ends this process."""
    parent = os.getppid()
    processes, output = int(sys.argv[1]), Path(sys.argv[2])
    address = address_of(sys.argv[3])
    first, *spare = [str(_serve(processes, address)) for _ in range(JOINS)]
    where = {
        "HOROVOD_GLOO_RENDEZVOUS_ADDR": address,
        "HOROVOD_GLOO_RENDEZVOUS_PORT": first,
        SPARE_PORTS: ",".join(spare),
    }
    part = output.with_suffix(".part")
    part.write_text(json.dumps(where), encoding="utf-8")
    part.replace(output)
    while os.getppid() == parent:  # ends with the harness, even if that is killed
        time.sleep(0.5)


class BoundServer(RendezvousServer):
    """Horovod's server, bound to one address; its own ``start`` would listen on all addresses."""

    def start_at(self, address: str) -> int:
        """Starts to listen on a port that the kernel chooses, and returns the port."""
        self._httpd = RendezvousHTTPServer((address, 0), RendezvousHandler, self._verbose)
        self._listen_thread = threading.Thread(target=self._httpd.serve_forever, daemon=True)
        self._listen_thread.start()
        return int(self._httpd.server_address[1])


def _serve(processes: int, address: str) -> int:
    """Starts a new server and returns its port."""
    server = BoundServer(0)
    port = server.start_at(address)
    server.init(get_host_assignments(parse_hosts(f"localhost:{processes}"), processes))
    return port


if __name__ == "__main__":
    main()
