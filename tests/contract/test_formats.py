"""Figures read alike in a terminal and on the page, at every size and at the edges of rounding."""

from __future__ import annotations

import json
import random
import shutil
import subprocess
from collections.abc import Callable

import pytest

from suite.contract import formats
from suite.contract.columns import Metric
from suite.contract.formats import FORMATS, number, percent, rate, seconds, size_bytes, times
from suite.report.html import asset, format_table

STARTS = (1.0, 1.005, 1.5, 2.125, 9.994, 9.995, 9.9949, 99.94, 99.95, 100.5, 999.4, 999.5, 999.94,
          999.95, 999.949999)


def _many() -> list[float]:
    """Twelve decades and more, with the values at which a rounded figure needs the next unit."""
    generator = random.Random(0)
    found = [start * 10.0**power for power in range(-15, 16) for start in STARTS]
    found += [generator.uniform(1, 10) * 10.0 ** generator.randrange(-13, 16) for _ in range(2000)]
    return [0.0, *found, *(-value for value in found[::7])]


@pytest.mark.parametrize(("show", "value", "text"), [
    (seconds, 0.9994, "999 ms"), (seconds, 0.9995, "1 s"), (seconds, 0.99995, "1 s"),
    (seconds, 1.007, "1.01 s"), (seconds, 0.000999951, "1 ms"), (seconds, 0.164, "164 ms"),
    (seconds, 0.0, "0 s"), (seconds, 5000.0, "5,000 s"), (seconds, 3e-16, "3e-4 ps"),
    (size_bytes, 999.4, "999 B"), (size_bytes, 999.5, "1 kB"), (size_bytes, 999_949_999, "1 GB"),
    (size_bytes, 511377408, "511 MB"), (size_bytes, 2e12, "2 TB"), (size_bytes, 100_500, "101 kB"),
    (rate, 999_600.0, "1 M"), (rate, 54.24, "54.2 "), (rate, 1.2e15, "1.2 P"),
    (number, 999.5, "1,000"), (number, 12345.0, "12,345"), (number, 0.00012, "1.2e-4"),
    (times, 1.9449, "1.94×"), (times, 99.994, "99.99×"), (times, 99.996, "100×"),
    (times, 1234.5, "1,235×"), (percent, 0.12345, "12.3 %"), (percent, 0.9995, "100.0 %"),
])
def test_the_edges(show: Callable[[float], str], value: float, text: str) -> None:
    assert show(value) == text


@pytest.mark.parametrize(("show", "lowest", "highest"), [
    (seconds, -12, 2), (size_bytes, 0, 15), (rate, 0, 15), (number, -3, 12),
])
def test_twelve_decades_need_no_power_of_ten_and_at_most_three_digits(
    show: Callable[[float], str], lowest: int, highest: int
) -> None:
    for power in range(lowest, highest):
        for start in (one for one in STARTS if one < 10):
            figure = show(start * 10.0**power).split(" ")[0]
            assert "e" not in figure
            if "," not in figure:  # whole, where there is no larger unit
                assert len(figure.replace(".", "").lstrip("0")) <= 3 and float(figure) < 1000


def test_a_format_that_does_not_exist_is_refused_when_the_table_is_built() -> None:
    with pytest.raises(ValueError, match="no format 'length'"):
        Metric("reach_m", "m", "reach", "lower", "length", "How far.")


@pytest.mark.skipif(not shutil.which("node"), reason="no node here to run the page's script")
def test_the_page_writes_what_the_terminal_writes() -> None:
    values = [formats.kept(value) for value in _many()]
    kinds = [kind for kind in FORMATS if kind != "text"]
    script = f"{format_table()}\n{asset('format.js')}\n" + """
    const [values, triples] = JSON.parse(require("fs").readFileSync(0, "utf8"));
    const kinds = Object.keys(FORMATS).filter(kind => kind !== "text");
    console.log(JSON.stringify({ kinds,
      texts: kinds.map(kind => values.map(value => FORMATS[kind](value))),
      intervals: triples.map(triple => withInterval(...triple)) }));
    """
    triples = [[value, formats.kept(value * 0.97), formats.kept(value * 1.06)] for value in values]
    done = subprocess.run(["node", "-e", script], input=json.dumps([values, triples]), text=True,
                          capture_output=True, check=True)
    found = json.loads(done.stdout)
    assert found["kinds"] == kinds
    for kind, texts in zip(kinds, found["texts"], strict=True):
        assert texts == [FORMATS[kind](value) for value in values], kind
    assert found["intervals"] == [formats.seconds_interval(*triple) for triple in triples]


def test_a_value_reads_alike_before_and_after_it_is_rounded_for_the_page() -> None:
    for kind, show in FORMATS.items():
        if kind != "text":
            assert all(show(value) == show(formats.kept(value)) for value in _many())


def test_an_interval_wider_than_anything_has_no_digits() -> None:
    assert formats.bounds(0.5, 100.0) == " [0.50, 100.00]"
    assert formats.bounds(0.0, 23980.93) == " [0.00, >100]"
    assert formats.bounds(0.0, 1199046.6, 1) == " [0.0, >1000]"
