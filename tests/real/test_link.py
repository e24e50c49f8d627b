"""Fitted links against links of known rate, and a training step's T_comm predicted from them."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from suite.analysis.comm_model import model_columns
from suite.analysis.communication import communication, payloads
from suite.analysis.link_fit import LinkFit, fit_links
from suite.analysis.transfers import scheduling_seconds
from suite.contract.case import Case
from suite.contract.records import RankRecord, read_records
from suite.contract.registry import engines, traits_of
from suite.contract.sweep import COLLECTIVES, Sweep, payload_sizes
from suite.launch.group import LaunchRequest, launch
from suite.launch.inputs import load_data
from suite.machine.devices import allowed_cores
from suite.machine.software import installed_version
from suite.measure.links import LinkResults, Plan, link_case, measure, measure_all
from tests.shaped import ShapedLink, shaped_link, why_not

UNAVAILABLE = why_not()
shaped = pytest.mark.skipif(bool(UNAVAILABLE), reason=UNAVAILABLE)
KIB, MIB = 1 << 10, 1 << 20
COLUMNS = [(framework, engine) for framework, offered in engines().items() for engine in offered]


def _needs(framework: str) -> None:
    if not installed_version(traits_of(framework).distributions):
        pytest.skip(f"{framework} is not installed")


def _fit(framework: str, link: ShapedLink, folder: Path) -> LinkFit:
    """Sizes above the shaper's bucket, which is full before each call; below nothing is shaped."""
    sizes = [size * KIB for size in (1024, 1536, 2048, 3072, 4096, 6144, 8192, 10240)]
    case = link_case(framework, "torch", "cpu", 2, link.interface)
    plan = Plan(case, Sweep({"all_reduce": sizes}, 10, 5.0, pause_s=0.015))
    samples, outcome = measure(plan, folder, 120.0, prefixes=link.prefixes)
    assert outcome.status == "ok", outcome.reason
    (fit,) = fit_links(samples)
    return fit


@shaped
@pytest.mark.alone
@pytest.mark.parametrize(("framework", "rate_mbit"), [
    ("horovod", 400),  # pytorch's at this rate predicts a step, below
    *(pytest.param(framework, rate, marks=pytest.mark.long)
      for framework in ("pytorch", "horovod") for rate in (200, 800)),
])
def test_alpha_is_the_shaped_rate(
    framework: str, rate_mbit: int, truth: Callable[..., None], tmp_path: Path
) -> None:
    """Two ranks' all-reduce of B: each sends B/2 to reduce, then B/2 to gather; ways are apart."""
    _needs(framework)
    with shaped_link(rate_mbit) as link:
        fit = _fit(framework, link, tmp_path)
    _check_alpha(framework, fit, link, truth)


def _check_alpha(
    framework: str, fit: LinkFit, link: ShapedLink, truth: Callable[..., None]
) -> None:
    shaped_ns, name = 1e9 * link.seconds_per_byte(), f"{framework} over {link.rate_mbit} Mbit/s"
    assert fit.alpha_s_per_byte
    truth(f"{name}: alpha, ns/B", f"{shaped_ns:.3f} ns/B", 1e9 * fit.alpha_s_per_byte,
          0.98 * shaped_ns, 1.02 * shaped_ns)
    assert fit.transport == f"tcp:{link.interface}"


@shaped
@pytest.mark.alone
def test_a_steps_t_comm_is_predicted(truth: Callable[..., None], tmp_path: Path) -> None:
    """DDP of mlp wide: 12.9 MB of gradients a step over 400 Mbit/s."""
    _needs("pytorch")
    with shaped_link(400) as link:
        fit = _fit("pytorch", link, tmp_path)
        records = _train(link, tmp_path)
    _check_alpha("pytorch", fit, link, truth)
    found = communication(records)
    transfer = found["t_comm_transfer_s"]
    row = model_columns("pytorch", "torch", 2, payloads(records), transfer, [fit])
    truth("pytorch data over 400 Mbit/s: T_comm transfer, s", f"{row['t_comm_model_s']:.3f} s",
          transfer, 0.9 * row["t_comm_model_s"], 1.1 * row["t_comm_model_s"])
    assert row["contention"] == pytest.approx(1.0, abs=0.11)


@shaped
@pytest.mark.alone
@pytest.mark.long
def test_a_rank_whose_link_is_half_as_fast_is_transfer(
    truth: Callable[..., None], tmp_path: Path
) -> None:
    """What leaves the second rank takes twice as long: nobody waits, and a byte costs twice."""
    _needs("pytorch")
    found = []
    with shaped_link(400) as link:
        for rate_mbit in (400, 200):
            link.shape(1, rate_mbit)
            (folder := tmp_path / str(rate_mbit)).mkdir()
            found.append(_train(link, folder))
    before, after = map(communication, found)
    alpha = after["t_comm_transfer_s"] / (after["comm_bytes"] * after["comm_count"])
    slow = ShapedLink(200, link.interface, link.prefixes).seconds_per_byte()
    truth("a rank's link at half its rate: transfer, times", "2 times",
          after["t_comm_transfer_s"] / before["t_comm_transfer_s"], 1.85, 2.15)
    truth("the same: transfer over B·N, ns/B", f"{1e9 * slow:.1f} ns/B",
          1e9 * alpha, 0.9e9 * slow, 1.1e9 * slow)
    longer = after["t_comm_transfer_s"] - before["t_comm_transfer_s"]
    truth("the same: longer wait, share of the longer transfer", "none",
          (after["t_comm_wait_s"] - before["t_comm_wait_s"]) / longer, -0.1, 0.1)
    lost = [scheduling_seconds(records) or 0.0 for records in found]
    truth("the same: longer without a core, share of it", "none",
          (lost[1] - lost[0]) / longer, -0.1, 0.1)


def _train(link: ShapedLink, folder: Path) -> list[RankRecord]:
    case = Case(
        "pytorch", "torch", "data", "", "mlp", "wide", "real", "cpu", 2, steps=1,
        warmup_limit=20, interface=link.interface,
    )
    features, targets = load_data(case.spec, case.data, case.seed)
    inputs, path = folder / "inputs.npz", folder / "case.json"
    np.savez(inputs, features=features, targets=targets)
    case.write(path)
    cores = allowed_cores()[:2]
    outcome = launch(LaunchRequest(
        case, path, inputs, folder / "launch", cores, 120.0, prefixes=link.prefixes
    ))
    assert outcome.status == "ok", outcome.reason
    return read_records(outcome.records)


@pytest.mark.parametrize(("column", "devices"), [
    *((column, 2) for column in COLUMNS[:3]), (COLUMNS[0], 3),
    *(pytest.param(column, devices, marks=pytest.mark.long)  # Horovod's calls are its engines' too
      for column, devices in [(COLUMNS[3], 2), *((column, 3) for column in COLUMNS[1:])]),
], ids=lambda value: "-".join(value) if isinstance(value, tuple) else str(value))
def test_every_collective_of_every_transport(
    column: tuple[str, str], devices: int, tmp_path: Path
) -> None:
    """All calls work, also between more ranks than cores, and cost what bytes cost."""
    _needs(column[0])
    names = [name for name in COLLECTIVES if name not in traits_of(column[0]).unswept]
    sizes = {name: payload_sizes(name, devices, 4, 4 * MIB, 16) for name in names}
    results = LinkResults(tmp_path)
    plan = Plan(link_case(*column, "cpu", devices), Sweep(sizes, 4, 15.0))
    measure_all([plan], results, {}, 120.0, lambda *_: None)
    assert {fit.collective: fit.reason for fit in results.fits} == dict.fromkeys(names, "")
    hops = {"send_recv", "broadcast"} if column[0] == "horovod" else {"send_recv"}
    for fit in results.fits:
        assert fit.devices == (2 if fit.collective in hops else devices)
        assert fit.latency_s and fit.repetitions == 4
        # Between processes 4 MiB take longer than 4 B; one process may hand them over as they are.
        assert column[0] == "tensorflow" or fit.seconds(4 * MIB) > 3e-4
    record = json.loads(next(tmp_path.rglob("rank-0.json")).read_text())
    assert record["backend"] == ("in-process" if column[0] == "tensorflow" else "gloo")
