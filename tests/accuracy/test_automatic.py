"""The table of regrets says what a choice costs and what it saved."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from tests.accuracy.automatic import result_of
from tests.synthetic import DATA, SINGLE, make_run

PIPELINE = replace(DATA, strategy="inter_layer", variant="1f1b")


@pytest.mark.parametrize(("chosen", "regret", "kept"), [
    (PIPELINE, 1.0, True), (DATA, 1.25, False),
])
def test_a_choice_is_held_against_the_best_of_all(
    tmp_path: Path, chosen: object, regret: float, kept: bool
) -> None:
    seconds = {SINGLE.case_id: 0.02, DATA.case_id: 0.010, PIPELINE.case_id: 0.008}
    rows = make_run(tmp_path / "every", seconds, cases=[SINGLE, DATA, PIPELINE])
    found = result_of("planted", chosen.case_id, rows[:2], rows, (10.0, 50.0))  # type: ignore[attr-defined]
    assert found.best == PIPELINE.case_id and found.ways == 3
    assert found.regret == pytest.approx(regret, rel=0.02)
    assert (found.against is None) == (chosen is PIPELINE)
    assert found.kept == kept
    assert found.launches == (12, 18)
    # Whoever is right but slow has missed the other goal.
    assert not replace(found, chose_s=20.0).kept
