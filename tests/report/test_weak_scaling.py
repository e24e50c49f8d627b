"""Strong and weak scaling over devices and hosts, with planted step times."""

from __future__ import annotations

import io
import re
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console
from rich.table import Table

from suite.analysis.rows import build_rows
from suite.analysis.scaling import serial_share
from suite.analysis.verdict import NOT_COMPARABLE, compare_cases
from suite.config.matrix import build_matrix
from suite.config.resolution import resolve
from suite.contract.case import Case
from suite.contract.row import Row
from suite.report import axes
from suite.report.html import render
from suite.report.matrix import build_grids
from suite.report.scaling import build_scalings
from suite.report.scaling_payload import scaling_figures, scalings_of
from suite.report.terminal import comparison
from tests.synthetic import Planted, start_run

SINGLE = "pytorch.single.mlp-tiny-batch24.cpu1"
STRONG_2, STRONG_4 = (f"pytorch.data.mlp-tiny-batch24.cpu{count}" for count in (2, 4))
WEAK_2, WEAK_4 = (f"pytorch.data.mlp-tiny-batch{24 * count}.cpu{count}.weak" for count in (2, 4))
# 10 ms on one device; what a step takes there on n devices.
SECONDS = {SINGLE: 0.010, STRONG_2: 0.006, STRONG_4: 0.005, WEAK_2: 0.0125, WEAK_4: 0.0160}


def _cases(*scaling: str) -> list[Case]:
    options = {"devices": ["2", "4"], "framework": ["pytorch"], "strategy": ["single", "data"],
               "scaling": list(scaling), "size": "tiny", "batch": 24}
    return build_matrix(resolve("smoke", None, options), 0)


class OnHosts(Planted):
    """Each host has four ranks and numbers its cores from 0, as every host does."""

    def _record(self, case: Case, rank: int, middle: float, cores: list[int]) -> dict[str, Any]:
        placed = {"host": f"node{rank // 4}", "affinity": [rank % 4]} if case.hosts > 1 else {}
        return super()._record(case, rank, middle, cores) | placed


def _run(folder: Path, cases: list[Case], seconds: dict[str, float]) -> list[Row]:
    """Rows as on a machine of eight cores."""
    runner = start_run(folder, OnHosts(seconds, 0, launch_noise=0.001), cases)
    runner.starter.cores = list(range(8))
    runner.execute()
    runner.finish("complete")
    for result in runner.results:
        result.oversubscribed = False
    return build_rows("r", runner.results)


@pytest.fixture(scope="module")
def rows(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Row]:
    made = _run(tmp_path_factory.mktemp("both") / "run", _cases("strong", "weak"), SECONDS)
    assert [row.status for row in made] == ["ok"] * 5, [row.reason for row in made]
    return {row.case_id: row for row in made}


def test_the_plan_grows_with_the_devices() -> None:
    both = {case.case_id: case for case in _cases("strong", "weak")}
    assert list(both) == [SINGLE, STRONG_2, WEAK_2, STRONG_4, WEAK_4]
    assert [case.spec.global_batch for case in both.values()] == [24, 24, 48, 24, 96]
    # Each is proven against one device with its own batch.
    assert both[WEAK_2].reference_id == "mlp-tiny-batch48"
    assert both[STRONG_2].reference_id == both[SINGLE].reference_id == "mlp-tiny-batch24"
    assert [case.case_id for case in _cases("strong")] == [SINGLE, STRONG_2, STRONG_4]
    assert [case.case_id for case in _cases("weak")] == [SINGLE, WEAK_2, WEAK_4]


def test_on_one_device_both_are_one_case() -> None:
    options = {"devices": ["1", "2"], "framework": ["pytorch"], "strategy": ["data"],
               "scaling": ["strong", "weak"], "size": "tiny", "batch": 24}
    cases = build_matrix(resolve("smoke", None, options), 0)
    assert [(case.devices, case.scaling) for case in cases] == [
        (1, "strong"), (2, "strong"), (2, "weak")]


def test_without_a_batch_a_device_gets_the_workloads_own() -> None:
    options = {"devices": ["2"], "framework": ["pytorch"], "strategy": ["data"],
               "scaling": ["weak"], "size": "tiny"}
    (case,) = build_matrix(resolve("smoke", None, options), 0)
    (strong,) = build_matrix(resolve("smoke", None, options | {"scaling": ["strong"]}), 0)
    assert case.spec.global_batch == 2 * strong.spec.global_batch
    assert strong.case_id == "pytorch.data.mlp-tiny.cpu2"


@pytest.mark.parametrize(("case_id", "speedup", "scaling"), [
    (STRONG_2, 10 / 6, "strong"), (STRONG_4, 10 / 5, "strong"),
    (WEAK_2, 2 * 10 / 12.5, "weak"), (WEAK_4, 4 * 10 / 16, "weak"), (SINGLE, 1.0, ""),
])
def test_speedup_and_efficiency(
    rows: dict[str, Row], case_id: str, speedup: float, scaling: str
) -> None:
    row = rows[case_id]
    assert row.scaling == scaling and row.base_case_id == SINGLE
    assert row.speedup == pytest.approx(speedup, rel=0.04)  # steps scatter by 2 %
    assert row.efficiency == pytest.approx(row.speedup / row.devices)
    assert row.efficiency_ci_low is not None and row.efficiency_ci_high is not None
    assert row.efficiency_ci_low <= row.efficiency <= row.efficiency_ci_high
    assert row.verdict == ("" if case_id == SINGLE else "faster")


def test_a_weak_row_is_not_compared_with_a_strong_one(rows: dict[str, Row]) -> None:
    against = compare_cases(rows[WEAK_2], rows[STRONG_2])
    assert against.verdict == NOT_COMPARABLE
    assert against.reason == "global_batch is 48 against 24"
    # Weak rows of two counts compare by what they take for the batch of one device.
    between = compare_cases(rows[WEAK_4], rows[WEAK_2])
    assert between.ratio == pytest.approx(2 * 12.5 / 16, rel=0.02) and between.verdict == "faster"


def test_each_scaling_is_a_question_of_its_own(rows: dict[str, Row]) -> None:
    made = list(rows.values())
    strong, weak = build_scalings(made)
    assert strong.title == "mlp tiny, global batch 24, 2 and 4 cpu devices"
    assert weak.title == "mlp tiny, batch 24 a device, 2 and 4 cpu devices, weak scaling"
    assert [row.case_id for row in weak.series[0].rows] == [WEAK_2, WEAK_4]
    assert weak.best_devices == 4
    assert weak.headline.claim.startswith("pytorch data on 4 devices is fastest: ")
    assert "samples/s" in weak.headline.claim and "samples/s" not in strong.headline.claim
    assert "By Gustafson's law" in str(weak.headline) and "Amdahl" in str(strong.headline)
    grids = build_grids(made)
    assert [grid.title for grid in grids] == [
        "mlp tiny, global batch 24, 2 cpu devices", "mlp tiny, global batch 24, 4 cpu devices",
        "mlp tiny, global batch 48, 2 cpu devices, weak scaling",
        "mlp tiny, global batch 96, 4 cpu devices, weak scaling"]
    assert [grid.ranking.best.case_id for grid in grids if grid.ranking] == [
        STRONG_2, STRONG_4, WEAK_2, WEAK_4]
    assert all(grid.rows[0].case_id == SINGLE for grid in grids)
    assert scalings_of(grids, [weak, strong]) == [[1, 0]] * 4


def test_a_run_of_weak_scaling_alone(tmp_path: Path) -> None:
    made = _run(tmp_path / "run", _cases("weak"), SECONDS)
    (scaling,) = build_scalings(made)
    assert scaling.weak and axes.common(made)[-1] == "weak scaling"
    assert [grid.title.rpartition(", ")[2] for grid in build_grids(made)] == [
        "2 cpu devices", "4 cpu devices"]
    (table,) = [part for part in comparison(made, 160, "results/r")
                if isinstance(part, Table) and str(part.title).startswith("Scaling")]
    assert str(table.caption).endswith("efficiency, step of one device / step.")
    shown = [str(cell) for column in table.columns for cell in column.cells]
    form = r"1\.[56]\d× \[1\.\d+, 1\.\d+\]\n[78]\d\.\d % \[\d\d\.\d, \d\d\.\d\]"
    assert re.fullmatch(form, shown[1])


def test_the_page_has_both(rows: dict[str, Row]) -> None:
    run = {"run_id": "r", "state": "complete", "blocks": [], "configuration": {"seed": 0},
           "environment": {"processor": "x", "cores": 4, "gpus": 0}}
    page = render(run, list(rows.values()), ())
    assert '"weak":true' in page.replace(": ", ":") and '"weak":false' in page.replace(": ", ":")


@pytest.mark.parametrize("serial", [0.0, 0.04, 0.5, 1.0])
def test_a_planted_serial_share_of_grown_work_is_found(serial: float) -> None:
    rows = [Row(devices=n, scaling="weak", speedup=n - serial * (n - 1)) for n in (2, 4, 64)]
    found = serial_share(rows)
    assert found is not None and found.law == "Gustafson"
    assert found.share == pytest.approx(serial, abs=1e-12)
    assert found.speedup(16) == pytest.approx(16 - serial * 15)


def _on_hosts(scaling: str) -> list[Case]:
    options = {"devices": ["2", "4", "8"], "framework": ["pytorch"],
               "strategy": ["single", "data", "data+intra_layer"], "scaling": [scaling],
               "size": "tiny", "batch": 24, "mesh": ["data=2,intra_layer=2"]}
    return build_matrix(resolve("smoke", None, options), 0, (4, 4))


@pytest.mark.parametrize(("scaling", "grown"), [("strong", 1), ("weak", 2)])
def test_speedup_by_hosts_is_over_the_fullest_single_host(
    tmp_path: Path, scaling: str, grown: int
) -> None:
    cases = [case for case in _on_hosts(scaling) if case.strategy in ("single", "data")]
    names = {case.devices: case.case_id for case in cases}
    assert {case.devices: case.hosts for case in cases} == {1: 1, 2: 1, 4: 1, 8: 2}
    seconds = {names[1]: 0.010, names[2]: 0.006, names[4]: 0.004, names[8]: 0.0025 * grown}
    rows = {row.devices: row for row in _run(tmp_path / "run", cases, seconds)}
    assert rows[8].host_base_case_id == names[4]
    assert rows[8].host_speedup == pytest.approx(4 / 2.5, rel=0.04)
    assert rows[8].host_efficiency == pytest.approx(rows[8].host_speedup / 2)
    assert rows[8].host_speedup_ci_low is not None and rows[8].host_speedup_ci_low > 1.5
    assert all(rows[count].host_speedup is None for count in (1, 2, 4))
    console = Console(width=120, file=io.StringIO(), record=True)
    console.print(*comparison(list(rows.values()), 120, "results/r"))
    text = console.export_text()
    batch = "batch 24 a device, weak scaling" if scaling == "weak" else "global batch 24"
    flat = " ".join(text.split())  # a title is broken where its table is narrower
    assert f"Over hosts: mlp tiny, {batch}" in flat
    assert re.search(r"base +1\.\d\d× .*\n +4 devices +[78]\d\.\d % on 8 devices", text), text
    assert "many samples a second as on the fewest hosts" in flat or scaling == "strong"
    # Where the devices leave a host stands over their column, in titles, and in the page's data.
    assert re.search(r" 8 +\n.*devices +2 +4 +on 2 hosts", text), text
    assert [grid.title.partition(" cpu devices")[2].partition(",")[0]
            for grid in build_grids(list(rows.values()))] == ["", "", " on 2 hosts"]
    (found,) = build_scalings(list(rows.values()))
    assert "2, 4 and 8 cpu devices on up to 2 hosts" in found.title
    assert (found.counts, found.hosts) == ([2, 4, 8], [1, 1, 2])
    assert scaling_figures(found, {row.case_id: 0 for row in rows.values()})["hosts"] == [1, 1, 2]
