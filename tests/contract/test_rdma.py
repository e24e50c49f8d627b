"""RDMA ports as a planted /sys has them, and what doctor and the ranks' counters make of them."""

from __future__ import annotations

from pathlib import Path

from suite.contract.rdma import ports
from suite.machine.checks import OK, WARNING, remote_memory
from suite.ranks.traffic import grown, received_bytes
from tests.planted_rdma import plant_port

NET_DEV = """\
Inter-|   Receive                                                |  Transmit
 face |bytes    packets errs drop fifo frame compressed multicast|bytes    packets errs drop
    lo: {} 51004619    0    0    0     0          0         0 801571006672 51004619    0    0
  eth0:{} 71666    0    0    0     0          0         0  4353105   45383    0    0
"""


def test_ports(tmp_path: Path) -> None:
    assert ports(tmp_path / "none") == []
    plant_port(tmp_path, received=250, sent=10)
    plant_port(tmp_path, "rxe0", state="1: DOWN", rate="2.5 Gb/sec (1X SDR)", layer="Ethernet")
    (tmp_path / "rxe0/ports/1/counters/port_rcv_data").unlink()
    first, second = ports(tmp_path)
    assert (first.name, first.state, first.active) == ("mlx5_0/1", "ACTIVE", True)
    assert (first.rate, first.layer) == ("100 Gb/sec (4X EDR)", "InfiniBand")
    assert (first.received_bytes, first.sent_bytes) == (1000, 40)
    assert (second.name, second.active, second.received_bytes) == ("rxe0/1", False, None)


def test_doctor_names_state_and_speed(tmp_path: Path) -> None:
    devices, verbs = tmp_path / "sys", tmp_path / "dev"
    assert remote_memory(devices, verbs).found == "no device: hosts are connected by TCP"
    plant_port(devices, layer="Ethernet", state="1: DOWN")
    found = remote_memory(devices, verbs)
    assert found.state == WARNING and "docker run --device" in found.fix
    verbs.mkdir()
    found = remote_memory(devices, verbs)
    assert found.state == WARNING and "no port is active" in found.fix
    plant_port(devices, layer="Ethernet")
    found = remote_memory(devices, verbs)
    assert (found.state, found.fix) == (OK, "")
    assert found.found == "mlx5_0/1 RoCE or iWARP ACTIVE, 100 Gb/sec (4X EDR)"


def test_bytes_that_a_host_receives(tmp_path: Path) -> None:
    table, devices = tmp_path / "dev", tmp_path / "sys"
    table.write_text(NET_DEV.format(100, 2_821_471_282))
    plant_port(devices, received=5)
    before = received_bytes(table, devices)
    assert before == {"lo": 100, "eth0": 2_821_471_282, "mlx5_0/1": 20}
    table.write_text(NET_DEV.format(100, 2_821_471_300))
    plant_port(devices, received=1005)
    assert grown(before, received_bytes(table, devices)) == {"eth0": 18, "mlx5_0/1": 4000}
    assert received_bytes(tmp_path / "no", tmp_path / "none") == {}
    assert "lo" in received_bytes()  # of this machine
