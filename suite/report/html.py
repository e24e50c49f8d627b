"""Renders the page of a run: one self-contained HTML file."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import lru_cache
from importlib import resources
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined, Template
from markupsafe import Markup

from suite.analysis.ledger import MUST_EQUAL
from suite.analysis.link_fit import LinkFit
from suite.contract.files import TableRow
from suite.contract.formats import TABLE, percent, rate, seconds, size_bytes
from suite.contract.metrics import METRICS
from suite.contract.row import Row
from suite.report.axes import common
from suite.report.choice import HEADINGS, candidates_of, told
from suite.report.doubts import doubts, grouped_reasons, grouped_warnings, noise, proven
from suite.report.matrix import Grid, build_grids
from suite.report.memory_frontier import frontier_lines, headings
from suite.report.names import case_name, framework_name, listed, names_in
from suite.report.payload import build_payload, embed
from suite.report.scaling import build_answers, build_scalings

# Number of colours from the base's time to a linear speedup.
TINTS = 5
# Grids that the page draws at once; the others are drawn when a reader asks for them.
# Rows of a matrix in the plain table that stands where no script runs; results.csv has the rest.
FALLBACK_ROWS = 500
GRIDS_AT_ONCE = 12
# So many answers stand with their reasons; those of further workloads are folded.
SPOKEN = 4
LIBRARIES = ("vendor/d3.min.js", "vendor/plot.min.js", "vendor/tabulator.min.js")
SCRIPTS = ("format.js", "data.js", "chart_parts.js", "charts.js", "evidence.js", "scaling.js",
           "details.js", "table.js", "page.js")
STYLES = ("vendor/tabulator.min.css", "page.css")


def render(
    run: Mapping[str, Any],
    rows: Sequence[Row],
    losses: Iterable[TableRow],
    links: Iterable[TableRow] = (),
    fits: Sequence[LinkFit] = (),
    grids: list[Grid] | None = None,
) -> str:
    """Writes the page of a run.

    Steps are drawn from the rows' ``step_sample_s``, so neither memory nor page grows with the
    number of steps. Whatever a user supplied is escaped, by the template engine or as JSON.

    Args:
        run: Content of run.json.
        rows: What ``build_rows`` made of the run.
        losses: Rows of ``losses.csv``; may be a stream.
        links: Rows of ``link.csv``; may be a stream.
        fits: The fitted links.
        grids: What ``build_grids`` made of the rows, if that is known already.

    Returns:
        The HTML.
    """
    rows = list(rows)
    grids = build_grids(rows) if grids is None else grids
    scalings, chosen = build_scalings(rows), told(candidates_of(run), rows)
    payload = build_payload(
        run=run, rows=rows, grids=grids, losses=losses, links=links, fits=fits, scalings=scalings,
    )
    return _template().render(
        answers=build_answers(grids, scalings),
        spoken=0 if chosen else SPOKEN,  # a choice is the answer; what settings it had are folded
        run=run, metrics=METRICS,
        noise=noise(rows), choices=chosen, choice_headings=HEADINGS,
        grids=grids[:GRIDS_AT_ONCE], folded=grids[GRIDS_AT_ONCE:],
        place={row.case_id: number for number, row in enumerate(rows)},
        reasons=grouped_reasons(rows), warnings=grouped_warnings(rows), doubts=doubts(rows),
        ledger=ledger_table(rows, grids), blocks=block_table(run.get("blocks", ())),
        frontier=frontier_lines(rows), frontier_headings=headings(),
        common=common(rows), proven=proven(rows),
        data=embed(payload), counts=Counter(row.status for row in rows),
    )


@lru_cache
def _template() -> Template:
    """Compiles the template, only once, because the page is written anew after every launch."""
    environment = Environment(
        loader=PackageLoader("suite.report", "page"), autoescape=True, undefined=StrictUndefined,
        trim_blocks=True, lstrip_blocks=True,
    )
    environment.filters |= {
        "tint": tint, "case_name": case_name, "seconds": seconds, "rate": rate,
        "bound": bound, "percent": percent, "size_bytes": size_bytes,
    }
    scripts = [*map(asset, LIBRARIES), "\n".join([format_table(), *map(asset, SCRIPTS)])]
    environment.globals |= {
        "fallback_rows": FALLBACK_ROWS,
        "styles": Markup("\n".join(map(asset, STYLES))),
        "scripts": list(map(Markup, scripts)), "policy": policy(scripts),
    }
    return environment.get_template("report.html.j2")


def policy(scripts: Sequence[str]) -> str:
    """Returns the page's content security policy: only these scripts run, and nothing is loaded.

    Whatever the files of a run contained, it can neither run in a reader's browser nor send
    anything away.

    Args:
        scripts: The page's own scripts.
    """
    digests = [base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
               for script in scripts]
    allowed = " ".join(f"'sha256-{digest}'" for digest in digests)
    return (f"default-src 'none'; script-src {allowed}; style-src 'unsafe-inline'; img-src data:; "
            "base-uri 'none'; form-action 'none'")


def format_table() -> str:
    """Returns the rules for writing figures as JavaScript, from which ``page/format.js`` starts."""
    return f"const FORMAT_TABLE = {json.dumps(TABLE)};"


def bound(text: str) -> str:
    """Keeps a number and its unit on one line."""
    return re.sub(r"(?<=\d) (?=(?:ms|µs|ns|s|%)\b|%)", "\N{NO-BREAK SPACE}", text)


def asset(name: str) -> str:
    """Reads a file of the page, without its pointer to a source map, which would not be there."""
    text = resources.files("suite.report").joinpath("page", name).read_text(encoding="utf-8")
    return re.sub(r"/[/*]# sourceMappingURL=\S+( \*/)?", "", text)


def tint(speedup: float | None, devices: int = 2) -> str:
    """Returns the CSS class of a speedup; empty without a speedup.

    Args:
        speedup: Speedup over the base.
        devices: Number of devices, at which a speedup of that number is linear.

    Returns:
        From ``tint1`` at the base's time to ``tint5`` at a linear speedup, or from ``slower1`` to
        ``slower3`` below the base.
    """
    if speedup is None:
        return ""
    if speedup < 0.995:
        return f"slower{1 + (speedup < 0.8) + (speedup < 0.5)}"
    gained = (speedup - 1.0) / max(1, devices - 1)
    return f"tint{max(1, min(TINTS, 1 + int(gained * TINTS)))}"


def ledger_table(
    rows: Sequence[Row], grids: Sequence[Grid]
) -> list[tuple[str, bool, list[tuple[str, str]]]]:
    """Lists the ledger entries that differ within a grid.

    Args:
        rows: Rows of the run.
        grids: Its grids.

    Returns:
        (entry, whether it must be equal, [(value, who has it)]) of each.
    """
    differing = dict.fromkeys(name for grid in grids for name in _differing(grid.rows))
    by_entry: dict[str, dict[str, list[Row]]] = {name: {} for name in differing}
    for row in (row for row in rows if row.ledger):
        for name in differing:
            # An entry that only one framework has is not missing from the others.
            if name in row.ledger or name in MUST_EQUAL:
                by_entry[name].setdefault(row.ledger.get(name, "not recorded"), []).append(row)
    owners = _owners(rows)
    return [
        (name, name in MUST_EQUAL, [(value, owners(who)) for value, who in values.items()])
        for name, values in by_entry.items()
    ]


def _differing(rows: Sequence[Row]) -> list[str]:
    """Returns the entries in which these rows differ, without the names of framework and engine."""
    ledgers = [row.ledger for row in rows if row.ledger]
    names = dict.fromkeys(name for ledger in ledgers for name in ledger)
    return [name for name in names if name not in ("framework", "engine")
            and len({ledger.get(name) for ledger in ledgers}) > 1]


def _owners(rows: Sequence[Row]) -> Callable[[Sequence[Row]], str]:
    """Returns a function that names some of these rows.

    It names a framework if all of its rows are meant, otherwise each case.
    """
    measured = Counter(framework_name(row) for row in rows if row.ledger)
    case = names_in(rows)

    def owners(who: Sequence[Row]) -> str:
        mine = Counter(map(framework_name, who))
        whole = [name for name, count in mine.items() if count == measured[name]]
        return listed(whole + [case(row) for row in who if framework_name(row) not in whole])

    return owners


def block_table(blocks: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Lists for each block how the machine was: its cores' rates, steal and load.

    Args:
        blocks: Content of run.json's ``blocks``.
    """
    return [
        {
            "block": block["block"] + 1,
            "seconds": block["seconds"],
            "matmul": [rate["matmul_flops_s"] for rate in block["rates"]],
            "copy": [rate["copy_bytes_s"] for rate in block["rates"]],
            "steal": block["steal_share"],
            "load": block["load"],
            "throttle": ", ".join(sorted({gpu["throttle"] for gpu in block["gpus"]} - {""})),
        }
        for block in blocks
    ]
