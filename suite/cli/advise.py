"""``python -m suite advise``: which way to choose, why, and what would change it."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from suite.cli.console import printer
from suite.cli.predict import HERE, asked, provenance, wish_of, workload_of
from suite.config.foresight import ForesightConfig
from suite.config.validation import from_environment, validate
from suite.contract.errors import UsageError
from suite.contract.row import Row
from suite.contract.workloads import Workload, sized_workload
from suite.foresight.advice import Evidence, advise, crossover_maps, turning_points
from suite.report.advice import advice_lines, advice_page, advice_table

# Columns and rows of the maps, as factors of what was asked about.
DEVICE_FACTORS, BATCH_FACTORS = (1, 2, 4, 8), (0.25, 0.5, 1, 2, 4, 8)
LINK_FACTORS = (1 / 16, 1 / 4, 1 / 2, 1, 2, 4, 16)


def advise_ways(options: dict[str, Any], results: Path, page: Path | None, as_json: bool) -> int:
    """Prints the answer first, then the ways; returns the exit code."""
    config = validate(ForesightConfig, from_environment(ForesightConfig) | options)
    found = asked(config)
    evidence, next_step = measured(config, results)
    answer = advise(found, evidence)
    maps = crossover_maps(
        sized_workloads(config, BATCH_FACTORS if page or as_json else (1,)), wish_of(config),
        found.posterior, found.model,
        devices=[config.devices * factor for factor in DEVICE_FACTORS], factors=LINK_FACTORS,
    )
    changes = turning_points(maps, workload_of(config).global_batch)
    if as_json:
        print(json.dumps({"advice": asdict(answer), "would_change": changes, "next": next_step,
                          "maps": [asdict(one) for one in maps]}, allow_nan=False))
    else:
        console = printer()
        lines = advice_lines(answer, changes, next_step)
        console.print("\n".join(lines), soft_wrap=True)
        console.print(advice_table(answer))
        console.print(provenance(config, found), soft_wrap=True)
    if page:
        page.parent.mkdir(parents=True, exist_ok=True)
        page.write_text(advice_page(answer, changes, next_step, maps, provenance(config, found)),
                        encoding="utf-8")
        print(page)
    return 0


def sized_workloads(config: ForesightConfig, factors: Sequence[float]) -> dict[int, Workload]:
    """Batch to the workload with that batch: rows of the maps; text needs the asked one alone."""
    asked_about = workload_of(config)
    batches = {max(1, round(asked_about.global_batch * factor)) for factor in factors}
    return {batch: sized_workload(config.workload, asked_about.size, batch)
            for batch in sorted(batches)}


def measured(config: ForesightConfig, results: Path) -> tuple[list[Evidence], str]:
    """Rows of runs on this machine that answer the same question, the newest of each case.

    Args:
        config: The question. Nothing was measured of a machine that is only named.
        results: Folder of run folders.

    Returns:
        The evidence, and what would decide the newest such run if it left its answer open.
    """
    if config.machine != HERE or not results.is_dir():
        return [], ""
    from suite.analysis.contenders import rank
    from suite.report.headline import headline
    from suite.runfolder.reading import read_run

    workload, seen, next_step = workload_of(config), dict[str, Evidence](), ""
    for folder in sorted(path.parent for path in results.glob("*/run.json")):
        try:
            run = read_run(folder)
            rows = [row for row in run.rows() if _same_question(row, config, workload)]
        except UsageError:
            continue  # an A/B run or a folder of link sweeps has no rows to read
        seen |= {row.case_id: _evidence(row, folder.name) for row in rows
                 if _same_framework(row, config)}
        if rows:
            next_step = headline(rank(rows)).telling(str(folder))
    return list(seen.values()), next_step


def _same_question(row: Row, config: ForesightConfig, workload: Workload) -> bool:
    same = (row.workload, row.size, row.global_batch) == (
        config.workload, workload.size, workload.global_batch)
    return (same and row.status == "ok" and row.mode == config.mode
            and row.devices in (1, config.devices))


def _same_framework(row: Row, config: ForesightConfig) -> bool:
    name, _, engine = config.framework.partition("/")
    alike = row.framework == name and engine in ("", row.engine)
    return alike and row.devices == config.devices and row.variant != "naive"


def _evidence(row: Row, run: str) -> Evidence:
    step = row.step_seconds
    schedule = row.variant if "inter_layer" in row.strategy else ""
    return Evidence(
        row.strategy, schedule, row.variant == "fsdp", step,
        low_s=row.step_time_ci_low_s or step, high_s=row.step_time_ci_high_s or step,
        run=run, case=row.case_id,
    )


