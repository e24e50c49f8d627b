"""Planted links are found again; sweeps run in real processes of the fake adapter."""

from __future__ import annotations

import csv
import errno
import io
import json
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from rich.console import Console

from suite.analysis.comm_model import (
    bytes_part,
    fits_by_kind,
    idle_seconds,
    model_columns,
    usable_links,
)
from suite.analysis.doubts import Conditions
from suite.analysis.host_places import links_scheduled
from suite.analysis.link_calls import call_seconds
from suite.analysis.link_fit import (
    FIT_COLUMNS,
    IDENTITY,
    LinkFit,
    bus_factor,
    fit_link,
    fit_links,
)
from suite.analysis.rows import CaseResult, build_rows
from suite.cli.link import build_plans, sweep_links
from suite.config.sweep_model import LinkConfig
from suite.config.validation import validate
from suite.contract import registry
from suite.contract.adapter import CommEvent, RankRecord, StepTrace
from suite.contract.case import Case, Rank
from suite.contract.errors import UsageError
from suite.contract.registry import engines
from suite.contract.sweep import Sweep, payload_sizes
from suite.measure.links import LinkResults, Plan, link_case, measure, measure_all, plans_for_run
from suite.ranks.sweep import keep_busy, run_sweep
from suite.report.link_tables import link_tables
from suite.report.payload import link_series
from tests.command import suite_command
from tests.fake_adapter.adapters.fake.link import (
    ALPHA_S_PER_BYTE,
    LATE_S,
    LATENCY_S,
    FakeLink,
)

SIZES = payload_sizes("all_reduce", 2, 4, 16 << 20)
WHO: dict[str, Any] = dict(zip(IDENTITY, ("pytorch", "torch", "all_reduce", "gloo", "tcp", 2),
                               strict=True))


def _samples(
    seconds: Any, repetitions: int = 9, noise: float = 0.0, seed: int = 3, ticks: float = 0.0
) -> list[dict[str, Any]]:
    """Two ranks, the second late by a random time that is no transfer; noise only adds."""
    generator = np.random.default_rng(seed)
    rows = []
    for repetition in range(repetitions):
        for size in SIZES:
            late = generator.uniform(0, 0.1)
            took = seconds(size) * (1 + noise * generator.exponential())
            took += (generator.random() < ticks) * generator.uniform(0, 0.012)
            for rank, start in enumerate((1.0, 1.0 + late)):
                rows.append(WHO | {"bytes": size, "repetition": repetition, "rank": rank,
                                   "start_s": start, "end_s": 1.0 + late + took})
    return rows


def _line(size: float) -> float:
    return 2e-4 + 5e-10 * size


def _eager_then_rendezvous(size: float) -> float:
    return 5e-5 + 1e-10 * size if size < 100_000 else 4e-4 + 8e-10 * size


def _shaped(size: float) -> float:
    """A token bucket: 256 KiB pass at once, so the line of large messages starts below 0."""
    return 3e-4 + 1e-10 * size + max(0.0, size - 262_144) * 2.09e-8


def test_a_line_is_found_and_a_late_rank_is_no_transfer() -> None:
    fit = fit_link(_samples(_line, noise=0.02))
    assert fit.breakpoint_bytes is None
    assert fit.alpha_s_per_byte == pytest.approx(5e-10, rel=0.02)
    assert fit.latency_s == pytest.approx(2e-4, rel=0.02)
    assert fit.heldout_error_max < 0.05  # type: ignore[operator]
    assert fit.half_bandwidth_bytes == pytest.approx(4e5, rel=0.05)
    assert (fit.bytes_min, fit.bytes_max, fit.repetitions) == (4, 16 << 20, 9)
    assert fit.algorithm_bandwidth_bytes_s == fit.bus_bandwidth_bytes_s == 1 / fit.alpha_s_per_byte


@pytest.mark.parametrize("ticks", [0.0, 0.2])
def test_intervals_hold_the_truth(ticks: float) -> None:
    fits = [fit_link(_samples(_line, noise=0.02, seed=n, ticks=ticks)) for n in range(20)]
    held = [fit.alpha_ci_low < 5e-10 < fit.alpha_ci_high for fit in fits]  # type: ignore[operator]
    assert sum(held) >= 16
    assert all(f.alpha_ci_high / f.alpha_ci_low < 1.1 for f in fits)  # type: ignore[operator]


def test_ticks_of_a_scheduler_move_nothing() -> None:
    """Half of the calls up to 12 ms late: the median over repetitions would be 16 % off."""
    fit = fit_link(_samples(_line, repetitions=15, noise=0.02, ticks=0.5))
    assert fit.alpha_s_per_byte == pytest.approx(5e-10, rel=0.02)
    assert fit.latency_s == pytest.approx(2e-4, rel=0.05)


@pytest.mark.parametrize(
    ("truth", "alpha", "low", "high"),
    [(_eager_then_rendezvous, 8e-10, 65_536, 131_072), (_shaped, 2.1e-8, 131_072, 1 << 20)],
)
def test_a_change_of_protocol_is_found(truth: Any, alpha: float, low: int, high: int) -> None:
    fit = fit_link(_samples(truth, noise=0.01))
    assert fit.breakpoint_bytes is not None and low < fit.breakpoint_bytes < high
    assert fit.alpha_s_per_byte == pytest.approx(alpha, rel=0.02)
    assert fit.latency_s == pytest.approx(truth(0), rel=0.05)
    for size in (64, 4096, 4 << 20):
        assert fit.seconds(size) == pytest.approx(truth(size), rel=0.05)
    # Each side has a line of its own.
    assert fit.latency_above_s == pytest.approx(truth(8 << 20) - alpha * (8 << 20), rel=0.1)
    assert fit.alpha_below_s_per_byte == pytest.approx(1e-10, rel=0.25)


def test_noise_brings_no_breakpoint_into_the_held_out_error() -> None:
    """Two lines always fit better where they were fitted; R² would take them."""
    fit = fit_link(_samples(_line, repetitions=5, noise=0.2))
    assert fit.alpha_s_per_byte == pytest.approx(5e-10, rel=0.15)
    assert fit.heldout_error_mean < 0.2  # type: ignore[operator]


def test_too_few_sizes_are_a_reason() -> None:
    few = [row for row in _samples(_line) if row["bytes"] < 16]
    fit = fit_link(few)
    assert fit.status == "failed" and "2 sizes" in fit.reason
    with pytest.raises(ValueError, match="2 sizes"):
        fit.seconds(10)


def test_an_outlier_among_repetitions_moves_nothing() -> None:
    rows = _samples(_line)
    for row in rows:
        if row["repetition"] == 4:
            row["end_s"] += 1.0
    assert fit_link(rows).alpha_s_per_byte == pytest.approx(5e-10, rel=1e-6)


def test_beside_computing_the_usual_call_counts() -> None:
    """What disturbs half of the calls of an idle link is dropped; of a loaded one it is the link.
    """
    samples = _samples(_line, repetitions=21, ticks=0.9)
    idle = fit_link(samples)
    loaded = fit_link([sample | {"load_s": 0.005} for sample in samples])
    assert idle.idle and idle.latency_s == pytest.approx(2e-4, rel=0.05)
    assert not loaded.idle and loaded.latency_s is not None and loaded.latency_s > 2e-3
    assert [fit.load_s for fit in fit_links([*samples, *(
        sample | {"load_s": 0.005} for sample in samples)])] == [0.0, 0.005]


def test_a_row_is_judged_by_the_idle_link() -> None:
    idle = fit_link(_samples(_line))
    loaded = replace(idle, latency_s=1.0, load_s=0.005)
    columns = model_columns("pytorch", "torch", 2, {"all_reduce": [1 << 20]}, 1e-3, [idle, loaded])
    assert columns["alpha_s_per_byte"] == idle.alpha_s_per_byte
    assert columns["comm_verdict"].startswith("normal")


def test_links_are_told_apart() -> None:
    other = [row | {"devices": 4} for row in _samples(lambda size: 2 * _line(size))]
    one, two = fit_links(_samples(_line) + other)
    assert (one.devices, two.devices) == (2, 4)
    assert two.alpha_s_per_byte == pytest.approx(2 * one.alpha_s_per_byte)  # type: ignore[operator]


def test_bus_factors_are_those_of_nccl_tests() -> None:
    assert bus_factor("all_reduce", 4) == 1.5
    assert bus_factor("all_gather", 4) == bus_factor("reduce_scatter", 4) == 0.75
    assert bus_factor("broadcast", 4) == bus_factor("send_recv", 2) == 1.0


def test_payloads_are_whole_elements_of_every_rank() -> None:
    assert payload_sizes("all_reduce", 3, 4, 16) == [4, 8, 16]
    assert all(size % 12 == 0 for size in payload_sizes("all_gather", 3, 4, 1 << 20))
    assert payload_sizes("all_reduce", 2, 4, 100, factor=4) == [4, 16, 64, 100]


def test_every_rank_shuffles_alike_and_anew() -> None:
    sweep = Sweep({"all_reduce": [4, 8, 16, 32, 64], "broadcast": [4, 8]}, 3, 1.0)
    assert sweep.order(1) == sweep.order(1) != sweep.order(2)
    assert len(set(sweep.order(0))) == 7


# What a row makes of the fits.

FIT = fit_link(_samples(_line))
HOP = replace(FIT, collective="send_recv")


def test_model_is_alpha_times_bytes_times_count() -> None:
    row = model_columns("pytorch", "torch", 2, {"all_reduce": [10**6, 3 * 10**6]}, 4.8e-3, [FIT])
    assert row["t_comm_model_s"] == pytest.approx(5e-10 * 4e6)
    assert row["contention"] == pytest.approx(2.4)
    # 4.8 ms against Hockney's 2·0.2 ms + 2 ms.
    assert row["comm_verdict"] == "normal: 2.0x the idle link's 2.4 ms a step"


@pytest.mark.parametrize(
    ("transfer", "words"), [(9.6e-3, "slow: 4.0x"), (7.1e-3, "normal: 3.0x"), (1e-3, "fast: 0.4x")]
)
def test_verdicts(transfer: float, words: str) -> None:
    row = model_columns("pytorch", "torch", 2, {"all_reduce": [10**6, 3 * 10**6]}, transfer, [FIT])
    assert row["comm_verdict"].startswith(words)


def test_small_messages_are_judged_by_latency_too() -> None:
    """alpha·B·N alone would call a hundred 40-byte messages 10,000 times too slow."""
    row = model_columns("pytorch", "torch", 2, {"all_reduce": [40] * 100}, 0.021, [FIT])
    assert row["contention"] > 1000 and row["comm_verdict"].startswith("normal: 1.0x")


def test_a_payload_outside_the_sweep_is_said() -> None:
    row = model_columns("pytorch", "torch", 2, {"all_reduce": [10**6, 10**8]}, 1.0, [FIT])
    assert row["comm_verdict"] == "out of range: B = 100 MB of all_reduce, swept 4 B to 16.8 MB"
    assert row["t_comm_model_s"] > 0


def test_a_hop_is_its_receivers_alone() -> None:
    """Eight hops in a pipeline of four: T_comm, a mean over devices, holds two of them."""
    row = model_columns("pytorch", "torch", 4, {"send_recv": [10**6] * 8}, None, [HOP])
    assert row["t_comm_model_s"] == pytest.approx(2 * 5e-10 * 1e6)
    assert row["alpha_s_per_byte"] == HOP.alpha_s_per_byte and "contention" not in row


def test_no_sweep_leaves_the_columns_empty_and_a_missing_kind_is_said() -> None:
    assert model_columns("pytorch", "torch", 2, {"all_reduce": [8]}, 1.0, []) == {}
    assert model_columns("pytorch", "torch", 2, {}, None, [FIT]) == {}
    row = model_columns("pytorch", "torch", 4, {"all_reduce": [8]}, 1.0, [FIT])
    assert row == {"comm_verdict": "not modelled: no sweep of all_reduce with 4 devices"}


@pytest.mark.parametrize("fit", [
    replace(FIT, alpha_s_per_byte=1e-14),
    # A tensor that is handed over as it is, with a breakpoint that raises the level alone.
    replace(FIT, alpha_s_per_byte=-1.3e-13, alpha_ci_low=-2.5e-13, alpha_ci_high=-7e-14,
            latency_s=2e-6, breakpoint_bytes=524288.0, alpha_below_s_per_byte=1e-11,
            latency_above_s=6.3e-6),
    replace(FIT, alpha_ci_low=-1e-12),
], ids=["level", "falling", "noise"])
def test_a_link_whose_bytes_cost_nothing_has_no_alpha(fit: LinkFit) -> None:
    row = model_columns("pytorch", "torch", 2, {"all_reduce": [8]}, 1.0, [fit])
    assert "does not grow" in row["comm_verdict"] and "alpha_s_per_byte" not in row
    # Its calls have a latency, so a step's can still be compared with it.
    assert set(usable_links([fit], "pytorch", "torch", 2, {"all_reduce": [8]})) == {"all_reduce"}
    assert usable_links([fit], "pytorch", "torch", 2, {"send_recv": [8]}) == {}
    assert set(usable_links([FIT], "pytorch", "torch", 2, {"all_reduce": [8]})) == {"all_reduce"}


def test_a_failed_sweep_leaves_its_reason_on_the_row() -> None:
    failed = replace(FIT, status="timeout", reason="not finished after 3 s")
    row = model_columns("pytorch", "torch", 2, {"all_reduce": [8]}, 1.0, [failed])
    assert row["comm_verdict"].endswith("(not finished after 3 s)")


def test_a_runs_rows_hold_the_model() -> None:
    """One all-reduce of 1 MB: both ranks ready at 2 ms, the result there 3.5 ms later."""
    event = CommEvent("all_reduce", 10**6, 2e-3, 5.5e-3, key="bucket0")
    records = [
        RankRecord(
            rank, step_seconds=[0.01] * 3, timed_step_seconds=[0.01], traced_step_seconds=[0.01],
            silent_step_seconds=[0.01], warmup_seconds=[0.02] * 10, steady=True,
            traces=[StepTrace([event], missing="planted")],
        )
        for rank in range(2)
    ]
    case = Case("pytorch", "torch", "data", "", "mlp", "wide", "real", "cpu", 2)
    result = CaseResult(case, [records], cores=[[0, 1]])
    (row,) = build_rows("run", [result], Conditions(fits=[FIT]))
    assert row.t_comm_model_s == pytest.approx(5e-4)
    assert row.contention == pytest.approx(7.0)
    assert row.comm_verdict == "slow: 5.0x the idle link's 700 µs a step; " \
        "up to 3x is usual inside a step"
    assert row.t_comm_run_model_s == pytest.approx(3.5e-3)
    assert row.run_over_link == pytest.approx(5.0)
    assert row.comm_reason.startswith("the link itself 700 µs (20 %), not told apart 2.8 ms")
    assert "run_over_link" in {warning.code for warning in row.warnings}
    assert row.latency_run_s is not None and row.alpha_run_s_per_byte == FIT.alpha_s_per_byte


def test_horovods_hop_is_a_broadcast() -> None:
    fit = replace(FIT, framework="horovod", collective="broadcast")
    found = fits_by_kind([fit, HOP], "horovod", "torch", 4)
    assert found == {"send_recv": fit}
    # Eight hops of four devices are two for each of them.
    hops = {"send_recv": [10**6] * 8}
    assert idle_seconds(found, hops, 4) == pytest.approx(2 * 7e-4)
    assert idle_seconds(found, hops, 4, bytes_part) == pytest.approx(2 * 5e-4)


# Real processes of the fake adapter.


def _plan(devices: int = 2, repetitions: int = 4) -> Plan:
    sizes = payload_sizes("all_reduce", devices, 4, 1 << 20)
    return Plan(link_case("fake", "numpy", "cpu", devices), Sweep({"all_reduce": sizes},
                                                                  repetitions, 60.0))


def test_a_sweep_in_real_processes_finds_the_planted_link(tmp_path: Path) -> None:
    results = LinkResults(tmp_path)
    shown: list[str] = []
    measure_all([_plan()], results, {}, 60.0, lambda text, *_: shown.append(text))
    (fit,) = results.fits
    assert fit.status == "ok", fit.reason
    assert fit.alpha_s_per_byte == pytest.approx(ALPHA_S_PER_BYTE, rel=1e-3)
    assert fit.latency_s == pytest.approx(LATENCY_S, rel=1e-3)
    assert (fit.backend, fit.transport, fit.devices) == ("fake", "paper", 2)
    with (tmp_path / "link.csv").open() as stream:
        rows = list(csv.DictReader(stream))
    assert len(rows) == 2 * 4 * (16 * 5 + 3) and shown == ["link.fake.cpu2"]
    starts = [float(row["start_s"]) for row in rows if row["rank"] == "1"]
    assert starts[0] - float(rows[0]["start_s"]) == pytest.approx(LATE_S)
    with (tmp_path / "link_fit.csv").open() as stream:
        saved = list(csv.DictReader(stream))
    assert list(saved[0]) == FIT_COLUMNS
    assert float(saved[0]["alpha_s_per_byte"]) == fit.alpha_s_per_byte


def test_the_command_sweeps_a_framework_that_lacks_some_collectives(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(registry, "own", lambda: ("fake",))
    options = {"framework": ["fake"], "bytes_max": "1KiB", "repetitions": 3}
    assert sweep_links(options, tmp_path) == 0
    with next(tmp_path.glob("*/link_fit.csv")).open() as stream:
        found = {row["collective"]: row["status"] for row in csv.DictReader(stream)}
    assert found == {
        "all_reduce": "ok", "send_recv": "ok", "all_gather": "unsupported",
        "reduce_scatter": "unsupported", "broadcast": "unsupported",
    }
    state = json.loads(next(tmp_path.glob("*/run.json")).read_text())["state"]
    assert state == "complete"


def test_a_full_disk_costs_no_sweep_that_had_finished(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(registry, "own", lambda: ("fake",))

    def full(self: LinkResults) -> None:
        raise OSError(errno.ENOSPC, "No space left on device", "link.csv")

    monkeypatch.setattr(LinkResults, "save", full)
    options = {"framework": ["fake"], "collective": ["all_reduce"], "bytes_max": "1KiB",
               "repetitions": 3}
    with pytest.raises(OSError, match="No space"):
        sweep_links(options, tmp_path)
    said = capsys.readouterr()
    assert "all_reduce" in said.out and "not everything is in" in said.err


def test_the_command_sweeps_beside_computing_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(registry, "own", lambda: ("fake",))
    options = {"framework": ["fake"], "collective": ["all_reduce"], "bytes_max": "1KiB",
               "repetitions": 3, "loaded": True}
    assert sweep_links(options, tmp_path) == 0
    with next(tmp_path.glob("*/link_fit.csv")).open() as stream:
        assert [row["load_s"] for row in csv.DictReader(stream)] == ["0.0", "0.005"]
    with next(tmp_path.glob("*/link.csv")).open() as stream:
        assert {row["load_s"] for row in csv.DictReader(stream)} == {"0.0", "0.005"}


def test_a_loaded_rank_computes_before_each_call() -> None:
    """Of a clock that goes on by a tenth of a second at each look, ten looks are one second."""
    ticks = iter(range(1000))
    keep_busy(1.0, lambda: next(ticks) / 10)
    assert next(ticks) == 11


class _Scheduled(FakeLink):
    """Has event loops, and takes another policy unless the user has said ``batch``."""

    def __init__(self, rank: Rank, told: str) -> None:
        super().__init__(rank)
        self.event_loops, self.told = "batch", told

    def schedule(self, preferred: str) -> str:
        self.event_loops = self.told or preferred
        return self.event_loops


@pytest.mark.parametrize(
    ("link", "expected"),
    [(lambda rank: _Scheduled(rank, ""), {
        ("all_reduce", "batch"), ("all_reduce", "default"), ("send_recv", "default"),
      }),
     (lambda rank: _Scheduled(rank, "batch"), {("all_reduce", "batch"), ("send_recv", "batch")}),
     (FakeLink, {("all_reduce", ""), ("send_recv", "")})],
)
def test_what_stages_call_is_swept_as_stages_are_scheduled(
    link: Any, expected: set[tuple[str, str]], tmp_path: Path
) -> None:
    """With one policy nothing is swept twice, so a size has one call in each repetition."""
    rank, sizes = Rank(0, 2, tmp_path), [256 << 10, 1 << 20]
    sweep = Sweep({"all_reduce": sizes}, 3, 60.0,
                  pipelined={"all_reduce": sizes, "send_recv": sizes})
    run_sweep(link(rank), sweep, rank)
    record = json.loads((tmp_path / "rank-0.json").read_text())
    found = Counter((one["collective"], one["event_loops"]) for one in record["samples"])
    assert found == dict.fromkeys(expected, 3 * len(sizes))
    assert set(record["participants"]) == {"all_reduce", "send_recv"}


def test_a_row_is_held_against_the_link_that_is_scheduled_as_it_is() -> None:
    batch, own = replace(FIT, event_loops="batch"), replace(FIT, event_loops="default")
    assert links_scheduled([batch, own], "default") == [own]
    assert links_scheduled([own, batch], "batch") == [batch]
    assert links_scheduled([batch, HOP], "default") == [HOP, batch]  # better than none
    assert links_scheduled([FIT], "batch") == [FIT]  # an early release's


def test_links_with_other_event_loops_are_told_apart() -> None:
    samples = [sample | {"event_loops": loops} for loops in ("batch", "default")
               for sample in _samples(_line)]
    assert [fit.event_loops for fit in fit_links(samples)] == ["batch", "default"]
    assert [link["event_loops"] for link in link_series(samples, fit_links(samples))] == [
        "batch", "default",
    ]


def test_time_ends_a_sweep_and_leaves_whole_repetitions(tmp_path: Path) -> None:
    plan = _plan(repetitions=10_000)
    quick = replace(plan, sweep=replace(plan.sweep, seconds=0.0))
    samples, outcome = measure(quick, tmp_path, 60.0)
    assert outcome.status == "ok", outcome.reason
    assert call_seconds(samples)[1].shape == (Sweep.FEWEST, 19)


@pytest.mark.parametrize(
    ("fault", "status", "words"),
    [("link", "failed", "planted: no link"), ("hang", "timeout", "3 s"),
     ("unsupported", "unsupported", "asked to be")],
)
def test_a_sweep_that_fails_is_a_row_with_its_reason(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fault: str, status: str, words: str
) -> None:
    monkeypatch.setenv("FAKE_FAULT", fault)
    results = LinkResults(tmp_path)
    measure_all([_plan()], results, {}, 3.0, lambda *_: None)
    (fit,) = results.fits
    assert (fit.status, words in fit.reason) == (status, True), fit.reason
    assert "all_reduce" in (tmp_path / "link_fit.csv").read_text()


def test_each_rank_starts_through_its_own_prefix(tmp_path: Path) -> None:
    prefixes = [("env", f"HOST={name}", "sh", "-c", f'echo "$HOST" >{tmp_path}/{name}; exec "$@"',
                 "sh") for name in ("a", "b")]
    samples, outcome = measure(_plan(), tmp_path, 60.0, prefixes=prefixes)
    assert outcome.status == "ok" and samples
    assert [(tmp_path / name).read_text() for name in ("a", "b")] == ["a\n", "b\n"]


# What is swept.


def test_a_run_sweeps_what_its_strategies_call() -> None:
    common = ("mlp", "wide", "real", "cpu")
    cases = [
        Case("pytorch", "torch", "single", "", *common, 1),
        Case("pytorch", "torch", "data", "", *common, 2),
        Case("pytorch", "torch", "inter_layer", "gpipe", *common, 2),
        Case("horovod", "torch", "inter_layer", "gpipe", *common, 2),
    ]
    pytorch, horovod = plans_for_run(cases)
    # What stages call is swept with event loops as stages have them.
    assert list(pytorch.sweep.sizes) == ["all_reduce"] and not horovod.sweep.sizes
    assert list(pytorch.sweep.pipelined) == ["send_recv", "all_reduce"]
    assert list(horovod.sweep.pipelined) == horovod.sweep.names == ["broadcast", "all_reduce"]
    # 12.9 MB of parameters.
    assert pytorch.sweep.sizes["all_reduce"][-1] == 16 << 20
    assert plans_for_run(cases[:1]) == []


def test_what_a_framework_does_not_offer_is_a_row() -> None:
    config = LinkConfig(framework=["tensorflow"], collective=["all_reduce", "all_gather"])
    (plan,), refused = build_plans(config, 0)
    assert list(plan.sweep.sizes) == ["all_reduce"] and plan.case.device == "cpu"
    assert plan.sweep.sizes["all_reduce"][-1] == 16 << 20
    assert [(fit.collective, fit.status) for fit in refused] == [("all_gather", "unsupported")]
    assert len(build_plans(LinkConfig(), 0)[0]) == sum(map(len, engines().values()))


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"bytes_max": "16 bananas"}, "option bytes_max"),
        ({"bytes_max": "2"}, "more than --bytes-min, 4"),
        ({"bytes_min": "-4"}, "option bytes_min"),
        ({"interface": "no0"}, "--interface"),
        ({"collective": ["all_to_all"]}, "'all_to_all', expected one of all_reduce"),
        ({"framework": ["jax"]}, "'jax', expected one of pytorch"),
        ({"device": "cuda"}, "--device"),
    ],
)
def test_bad_options_say_what_and_how_to_mend_it(options: dict[str, Any], words: str) -> None:
    with pytest.raises(UsageError, match="Fix:") as error:
        build_plans(validate(LinkConfig, options), 0)
    assert words in str(error.value)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [(["--devices", "1"], "option devices"), (["--repetitions", "2"], "option repetitions"),
     (["--timeout", "0"], "option timeout"), (["--bytes-max", "x"], "option bytes_max")],
)
def test_bad_usage_is_one_line_and_writes_nothing(
    tmp_path: Path, arguments: list[str], words: str
) -> None:
    done = suite_command("link", *arguments, "--out", str(tmp_path / "out"))
    assert done.returncode == 2 and words in done.stderr, done.stderr
    assert len(done.stderr.strip().splitlines()) == 1 and not (tmp_path / "out").exists()


def test_the_table_shows_fits_and_reasons() -> None:
    hop = LinkFit("horovod", "torch", "send_recv", "", "", 2, status="unsupported", reason="none")
    console = Console(width=160, record=True, file=io.StringIO())
    for part in link_tables([FIT, hop]):
        console.print(part)
    text = console.export_text()
    for words in ("pytorch", "gloo tcp", "5e-10", "200 µs", "400 kB", "2 GB/s", "4 B…16.8 MB",
                  "horovod/torch, send_recv: unsupported, none"):
        assert words in text, words


def test_failed_fits_are_told_by_the_exit_code(tmp_path: Path) -> None:
    from suite.cli.link import _exit_code

    failed = LinkFit("pytorch", "torch", "all_reduce", "", "", 2, status="failed", reason="x")
    assert _exit_code(False, [FIT]) == 0
    assert _exit_code(False, [FIT, replace(failed, status="unsupported")]) == 0
    assert _exit_code(False, [FIT, failed]) == 1
    assert _exit_code(True, [FIT]) == 130


def test_an_interval_of_noise_is_symmetric_about_alpha_and_may_hold_zero() -> None:
    """Bytes cost nothing here, and resampled slopes lie on both sides of it."""
    fit = fit_link(_samples(lambda size: 2e-4, repetitions=5, noise=0.5))
    assert fit.alpha_s_per_byte is not None and fit.alpha_ci_low is not None
    assert fit.alpha_ci_high is not None and fit.alpha_ci_low < 0 < fit.alpha_ci_high
    assert fit.alpha_ci_low <= fit.alpha_s_per_byte <= fit.alpha_ci_high
    assert fit.alpha_ci_high - fit.alpha_ci_low < 1e-9
