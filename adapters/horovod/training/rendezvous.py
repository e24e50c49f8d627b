"""Runs Horovod's own rendezvous servers for one launch.

    python -m adapters.horovod.training.rendezvous HOSTS OUTPUT_JSON INTERFACE

``HOSTS`` is ``name:ranks,…`` as ``horovodrun -H`` takes it. This process writes the variables that
tell the ranks where the servers are, then serves until it is ended. The servers listen on the
address of ``INTERFACE`` alone, which all ranks can reach: on one machine nobody else can join or
listen in. A server keeps what the ranks said when they joined, so each time they join again there
is another.
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
    among, output = sys.argv[1], Path(sys.argv[2])
    address = address_of(sys.argv[3])
    first, *spare = [str(_serve(among, address)) for _ in range(JOINS)]
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


def _serve(among: str, address: str) -> int:
    """Starts a new server for the ranks on the hosts ``among`` and returns its port."""
    hosts = parse_hosts(among)
    server = BoundServer(0)
    port = server.start_at(address)
    server.init(get_host_assignments(hosts, sum(host.slots for host in hosts)))
    return port


if __name__ == "__main__":
    main()
