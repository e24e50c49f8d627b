"""Two hosts for real on one machine: namespaces joined by a link of known rate, Open MPI between.

The second host's clock is 1000 s ahead, so whatever compares times of both has to bring them
together first.
"""

from __future__ import annotations

import csv
import json
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from math import prod
from pathlib import Path

import psutil
import pytest

from suite.contract.registry import traits_of
from suite.contract.splits.shards import shard_axes
from suite.contract.workloads import sized_workload
from suite.machine.software import installed_version
from tests.cluster import (
    AHEAD_SECONDS,
    NAMES,
    Cluster,
    cluster,
    phases,
    processes_of,
    why_no_cluster,
)

UNAVAILABLE = why_no_cluster()
pytestmark = pytest.mark.skipif(bool(UNAVAILABLE), reason=UNAVAILABLE)
HOSTS = ("--launcher", "mpirun", "--hosts", ",".join(f"{name}:1" for name in NAMES))
RATE_MBIT = 400
PHASE = "*/cases/pytorch.data*/launch-0/phase-1"


def _suite(hosts: Cluster, *arguments: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [*hosts.prefixes[0], sys.executable, "-m", "suite", *arguments],
        env=hosts.environment(), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
    )


def _finished(process: subprocess.Popen[str]) -> str:
    """What the command says, which ``make cluster-test`` shows."""
    said, _ = process.communicate(timeout=280)
    print(said)
    return said


def _rows(out: Path, said: str) -> dict[str, dict[str, str]]:
    """The rows by case; ``said`` is what the run had to say, if it left none."""
    (table, *others) = [*out.glob("*/results.csv")] or [Path()]
    assert table.name and not others, said
    with table.open(encoding="utf-8") as file:
        return {row["case_id"]: row for row in csv.DictReader(file)}


def _needs(*frameworks: str) -> None:
    for name in frameworks:
        if not installed_version(traits_of(name).distributions):
            pytest.skip(f"{name} is not installed")


def test_every_framework_trains_across_two_hosts(tmp_path: Path) -> None:
    """Every row is proven, its ranks on both hosts; TensorFlow spans them by multi_worker."""
    _needs("pytorch", "tensorflow", "horovod")
    with cluster(RATE_MBIT, tmp_path) as hosts:
        said = _finished(_suite(
            hosts, "run", *HOSTS, "--preset", "smoke", "--variant", "default,multi_worker,gpipe",
            "--strategy", "single,data,inter_layer", "--no-link", "--out", str(tmp_path / "out"),
        ))
    rows = _rows(tmp_path / "out", said)
    trained = {name for name, row in rows.items() if row["status"] == "ok"}
    assert {name.split(".")[1] for name in trained if "hosts2" in name} == {
        "data", "data-multi_worker", "inter_layer-gpipe"}, said
    assert all(row["status"] in ("ok", "unsupported") for row in rows.values()), said
    for name in trained:
        row = rows[name]
        assert row["parity"] == "ok"
        two = "hosts2" in name
        assert row["topology"] == ("host-a: 1, host-b: 1" if two else "host-a: 1")
        # Ranks wait for each other for less than the step; 1000 s would be the other clock's.
        if two and row["t_comm_wait_s"]:
            assert 0 <= float(row["t_comm_wait_s"]) <= 1.5 * float(row["t_comm_s"]) < 30
            assert 0 < float(row["clock_uncertainty_s"]) < 0.05


@pytest.mark.alone
@pytest.mark.parametrize(("framework", "collective"), [
    ("pytorch", "all_reduce"),
    pytest.param("tensorflow", "send_recv", marks=pytest.mark.long),
])
def test_alpha_across_hosts_is_the_links_rate(
    truth: Callable[..., None], tmp_path: Path, framework: str, collective: str
) -> None:
    """Two ranks' all-reduce of B sends B/2 to reduce and B/2 to gather, each way by itself.

    A tensor that goes to the other host and back takes B each way, of which one counts.
    """
    _needs(framework)
    with cluster(RATE_MBIT, tmp_path) as hosts:
        said = _finished(_suite(
            hosts, "link", *HOSTS, "--framework", framework, "--collective", collective,
            "--bytes-min", "1MiB", "--bytes-max", "16MiB", "--out", str(tmp_path / "out"),
        ))
        shaped_ns = 1e9 * hosts.link.seconds_per_byte()
    (table,) = (tmp_path / "out").glob("*/link_fit.csv")
    with table.open(encoding="utf-8") as file:
        (fit,) = csv.DictReader(file)
    assert fit["status"] == "ok" and fit["hosts"] == "2", said
    truth(f"{framework} across two hosts at 400 Mbit/s: alpha, ns/B", f"{shaped_ns:.3f} ns/B",
          1e9 * float(fit["alpha_s_per_byte"]), 0.95 * shaped_ns, 1.05 * shaped_ns)
    (clocks,) = (tmp_path / "out").glob("*/cases/*/launch-0/clock.json")
    offsets = json.loads(clocks.read_text())
    assert abs(offsets["1"]["seconds"] - AHEAD_SECONDS[1]) < offsets["1"]["uncertainty_s"] + 1e-3
    assert abs(offsets["1"]["date_seconds"]) < offsets["1"]["uncertainty_s"] + 1e-3


def test_a_host_that_is_cut_off_ends_its_case_and_the_run_can_be_resumed(tmp_path: Path) -> None:
    """The cable is pulled in mid-run: nothing answers, and nothing says goodbye."""
    _needs("pytorch")
    out = tmp_path / "out"
    with cluster(RATE_MBIT, tmp_path) as hosts:
        run = _suite(
            hosts, "run", *HOSTS, "--preset", "smoke", "--framework", "pytorch", "--strategy",
            "single,data", "--no-link", "--steps", "3000", "--timeout", "200", "--out", str(out),
        )
        _when(lambda: "clean steps" in phases(out, PHASE), run)
        assert len(_ranks(hosts)) >= 2
        hosts.cut(True)
        _when(lambda: not _ranks(hosts), run, 30)
        said = _finished(run)
        assert run.returncode == 1 and "host-b" in said, said
        assert _rows(out, said)["pytorch.data.mlp-tiny.cpu2.hosts2"]["status"] == "failed"
        assert _rows(out, said)["pytorch.single.mlp-tiny.cpu1"]["status"] == "ok"
        hosts.cut(False)
        (folder,) = out.glob("*")
        resumed = _suite(hosts, "run", "--resume", str(folder))
        said = _finished(resumed)
        assert resumed.returncode == 0, said
    assert all(row["parity"] == "ok" for row in _rows(out, said).values())


@pytest.mark.alone
@pytest.mark.long
def test_a_mesh_splits_layers_inside_a_host_and_sums_gradients_across(tmp_path: Path) -> None:
    """What crosses the cable in a step is the gradients' all-reduce, and none of the activations'.

    Each host has one core for two ranks here, so nothing is said of speed.
    """
    _needs("pytorch", "horovod")
    hosts_of_two = ",".join(f"{name}:2" for name in NAMES)
    with cluster(RATE_MBIT, tmp_path) as hosts:
        said = _finished(_suite(
            hosts, "run", "--launcher", "mpirun", "--hosts", hosts_of_two, "--devices", "4",
            "--preset", "smoke", "--workload", "gpt", "--size", "tiny", "--framework",
            "pytorch,horovod", "--strategy", "data+intra_layer", "--mesh", "data=2,intra_layer=2",
            "--batch", "64", "--no-link", "--out", str(tmp_path / "out"),
        ))
    rows = _rows(tmp_path / "out", said)
    assert len(rows) == 3, said
    for name, row in rows.items():
        assert (row["status"], row["parity"]) == ("ok", "ok"), f"{name}: {row['reason']} {said}"
        assert row["topology"] == "host-a: 2, host-b: 2" and row["hosts"] == "2"
        assert row["mesh"] == "data=2,intra_layer=2" and row["transport_used"] == "TCP"
        inside, across = _received(row["network_bytes"])
        held = _gradient_bytes()
        # The two ranks of a host receive each their shard's gradients once from the other host's;
        # headers, acknowledgements and the followers' words come on top. Sums within a layer, of
        # a large batch, are several times as much, and stay inside.
        assert 0.95 * held <= across <= 1.3 * held + 20_000, (name, row["network_bytes"], held)
        assert inside > 2 * across, row["network_bytes"]


@pytest.mark.alone
@pytest.mark.long
def test_tensorflow_places_layers_on_both_hosts(tmp_path: Path) -> None:
    """Rank 0 drives the second host's device too; only what the graph sends crosses the cable."""
    _needs("tensorflow")
    with cluster(RATE_MBIT, tmp_path) as hosts:
        said = _finished(_suite(
            hosts, "run", *HOSTS, "--preset", "smoke", "--framework", "tensorflow", "--workload",
            "mlp", "--strategy", "single,intra_layer,inter_layer", "--no-link",
            "--out", str(tmp_path / "out"),
        ))
    rows = _rows(tmp_path / "out", said)
    across = [row for name, row in rows.items() if "hosts2" in name]
    assert {row["strategy"] for row in across} == {"intra_layer", "inter_layer"}, said
    for row in across:
        assert (row["status"], row["parity"]) == ("ok", "ok"), f"{row['reason']} {said}"
        assert row["topology"] == "host-a: 1, host-b: 1" and row["transport_used"] == "TCP"
        assert 0 <= float(row["t_comm_wait_s"]) <= float(row["t_comm_s"]) < 1
        assert 0 < float(row["t_comm_transfer_s"]) <= float(row["t_comm_s"])
        assert 1 <= float(row["load_balance"]) < 2 and float(row["compute_avg_s"]) > 0
        # Of two stages or shards about as much goes there as comes back; the larger is shown.
        _, received = _received(row["network_bytes"])
        moved = float(row["comm_bytes"]) * float(row["comm_count"])
        assert 0.45 * moved < received < 1.3 * moved + 20_000, (row["network_bytes"], moved)


def _gradient_bytes() -> int:
    """Bytes of the gradients of both shards; what is not sharded is in each of them."""
    spec = sized_workload("gpt", "tiny", 0)
    sharded = shard_axes(spec)
    return sum(4 * prod(shape) * (1 if name in sharded else 2)
               for name, shape in spec.shapes().items())


def _received(text: str) -> tuple[float, float]:
    """Bytes by loopback, and by everything else, of a cell such as ``lo 1.2 MB, veth0 3 kB``."""
    units = {"B": 1, "kB": 1e3, "MB": 1e6, "GB": 1e9}
    parts = [one.split(" ") for one in text.split(", ")]
    bytes_of = {name: float(number) * units[unit] for name, number, unit in parts}
    lo = bytes_of.pop("lo", 0.0)
    return lo, sum(bytes_of.values())


def _when(happened: Callable[[], bool], run: subprocess.Popen[str], seconds: float = 120) -> None:
    """Returns as soon as it has happened; the run is interrupted where it does not."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        ended = run.poll() is not None
        if happened():
            return
        if ended:
            break
        time.sleep(0.1)
    run.send_signal(signal.SIGINT)
    raise AssertionError(_finished(run))


def _ranks(hosts: Cluster) -> list[list[str]]:
    """The command lines of the hosts' ranks; other tests' ranks may run beside."""
    found = []
    for pid in processes_of(hosts):
        with suppress(psutil.Error):
            found.append(psutil.Process(pid).cmdline())
    return [words for words in found if any("suite.ranks.train" in word for word in words)]
