"""Horovod's rendezvous is open to its own ranks, and to nobody else."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from adapters.horovod.training.timeline import JOINS, SPARE_PORTS


def test_it_listens_on_loopback_alone(tmp_path: Path) -> None:
    pytest.importorskip("horovod")
    written = tmp_path / "where.json"
    command = [sys.executable, "-m", "adapters.horovod.training.rendezvous", "localhost:2",
               str(written), "lo"]
    process = subprocess.Popen(command)
    try:
        ends = time.monotonic() + 60
        while not written.exists() and time.monotonic() < ends:
            assert process.poll() is None
            time.sleep(0.1)
        where = json.loads(written.read_text())
        found = {one.laddr for one in psutil.Process(process.pid).net_connections("inet")
                 if one.status == psutil.CONN_LISTEN}
    finally:
        process.kill()
        process.wait()
    ports = [where["HOROVOD_GLOO_RENDEZVOUS_PORT"], *where[SPARE_PORTS].split(",")]
    assert len(ports) == JOINS
    assert found == {("127.0.0.1", int(port)) for port in ports}
