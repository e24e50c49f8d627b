"""What the page shows of scaling: speedups and serial shares, over devices and over hosts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from suite.contract.formats import kept
from suite.report.axes import family
from suite.report.host_scaling import HostScaling
from suite.report.matrix import Grid
from suite.report.scaling import Scaling, Series, said


def scalings_of(grids: Sequence[Grid], scalings: Sequence[Scaling]) -> list[list[int]]:
    """Lists for each grid the numbers of the scalings of its workload, strong before weak.

    Args:
        grids: Grids of the run.
        scalings: Its workloads on several numbers of devices.
    """
    found: dict[tuple[Any, ...], list[int]] = {}
    for number, scaling in sorted(enumerate(scalings), key=lambda pair: pair[1].weak):
        found.setdefault(scaling.family[:-1], []).append(number)
    return [found.get(family(grid.rows)[:-1], []) for grid in grids]


def scaling_figures(scaling: Scaling, place: Mapping[str, int]) -> dict[str, Any]:
    """Returns one scaling for the page.

    Args:
        scaling: The scaling.
        place: Case to the number of its row.
    """
    return {"title": scaling.title, "counts": scaling.counts, "hosts": scaling.hosts,
            "weak": scaling.weak,
            "series": [_series(series, place) for series in scaling.series]}


def _series(series: Series, place: Mapping[str, int]) -> dict[str, Any]:
    serial = series.serial
    return {
        "framework": series.framework, "column": series.column,
        "rows": [place[row.case_id] for row in series.rows],
        "left_out": list(series.left_out.items()),
        "serial": serial and kept(serial.share),
        "said": serial and said(serial),
    }


def over_hosts(scaling: HostScaling) -> dict[str, Any]:
    """Returns one workload on several numbers of hosts for the page, as text."""
    return {"title": scaling.title, "hosts": scaling.hosts,
            "lines": [{"name": line.name,
                       "cells": [line.cell(hosts).split("\n") for hosts in scaling.hosts]}
                      for line in scaling.lines]}
