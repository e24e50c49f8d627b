"""Horovod's own rendezvous server for one launch.

    python -m adapters.horovod.rendezvous PROCESSES OUTPUT_JSON INTERFACE

Writes the variables that tell the ranks where it is, then serves until it is ended. It listens on
every address; the ranks are told the one of ``INTERFACE``, which all of them can reach.
"""

from __future__ import annotations

import json
import os
import sys
import time
from pathlib import Path

from horovod.runner.common.util.hosts import get_host_assignments, parse_hosts
from horovod.runner.http.http_server import RendezvousServer

from adapters.horovod.interfaces import address_of


def main() -> None:
    parent = os.getppid()
    processes, output = int(sys.argv[1]), Path(sys.argv[2])
    server = RendezvousServer(0)
    port = server.start()
    server.init(get_host_assignments(parse_hosts(f"localhost:{processes}"), processes))
    where = {
        "HOROVOD_GLOO_RENDEZVOUS_ADDR": address_of(sys.argv[3]),
        "HOROVOD_GLOO_RENDEZVOUS_PORT": str(port),
    }
    part = output.with_suffix(".part")
    part.write_text(json.dumps(where))
    part.replace(output)
    while os.getppid() == parent:  # a harness that was killed must leave nothing behind
        time.sleep(0.5)


if __name__ == "__main__":
    main()
