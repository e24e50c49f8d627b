"""Memory that is not there: refused before anything starts, with the largest batch that fits."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from suite.contract.case import Case
from suite.contract.errors import UsageError
from suite.contract.least_memory import least_memory
from suite.launch.inputs import SYNTHETIC_BATCHES
from suite.measure import admission, room
from suite.measure.room import Room, check_room, largest_batch, shortage
from suite.runfolder.reading import read_run
from tests.command import suite_command
from tests.synthetic import SINGLE, Planted, start_run

LARGE = replace(SINGLE, workload="gpt", size="small")
GIB = 2**30


def _need(case: Case) -> int:
    return least_memory(case, SYNTHETIC_BATCHES).host_bytes


def test_the_largest_batch_fits_and_the_next_does_not() -> None:
    case = replace(LARGE, strategy="data", devices=2, global_batch=100_000)
    free = Room(GIB)
    batch = largest_batch(case, free)
    assert batch % 2 == 0 and _need(replace(case, global_batch=batch)) <= GIB
    assert _need(replace(case, global_batch=batch + 2)) > GIB
    said = shortage(case, free)
    assert said.startswith("needs at least ") and "1.07 GB are free" in said
    assert said.endswith(f"the largest batch that fits is {batch}")
    assert shortage(replace(case, global_batch=batch), free) == ""


def test_where_no_batch_fits() -> None:
    assert largest_batch(LARGE, Room(1 << 20)) == 0
    assert "not even the smallest batch fits" in shortage(LARGE, Room(1 << 20))


def test_a_gpu_has_memory_of_its_own() -> None:
    case = replace(LARGE, device="cuda", global_batch=4096)
    assert "of memory of each GPU, 1.07 GB are free" in shortage(case, Room(100 * GIB, (GIB,)))
    assert shortage(case, Room(100 * GIB, (100 * GIB,))) == ""
    assert shortage(case, Room(100 * GIB, (None,))) == ""  # a driver that does not tell
    assert shortage(case, Room(100 * GIB)) == ""


@pytest.mark.parametrize(("devices", "free", "found"), [
    (2, [9, 8, 7, 6, 5, 4, 3, 0], 8), (8, [9, 8, 7, 6, 5, 4, 3, 0], 0), (1, [9, 8], 9),
    (2, [None, 8], 8), (2, [None, None, 5], None), (4, [9, 8], 4),
])
def test_the_gpus_that_a_case_takes_decide(
    devices: int, free: list[int | None], found: int | None
) -> None:
    """Somebody's job on the eighth GPU refuses no case on the first two."""
    case = replace(LARGE, strategy="data", device="cuda", devices=devices)
    assert Room(0, tuple(free)).of_device(case) == found
    if devices == 4:  # on two hosts they do not share their two GPUs
        assert Room(0, tuple(free)).of_device(replace(case, hosts=2)) == 8


def test_a_matrix_of_which_nothing_fits_is_refused() -> None:
    huge = replace(LARGE, global_batch=10**9)
    check_room([huge, LARGE], Room(GIB))
    batch = largest_batch(huge, Room(GIB))
    with pytest.raises(UsageError, match=f"1000000000 samples.*--batch {batch} is the largest"):
        check_room([huge], Room(GIB))


def test_the_command_ends_at_once(tmp_path: Path) -> None:
    for more in ((), ("--dry-run",)):
        done = suite_command("run", "--workload", "gpt", "--size", "small", "--batch", "1000000000",
                             "--out", str(tmp_path / "out"), *more)
        assert done.returncode == 2 and "is the largest that fits" in done.stderr, done.stderr
        assert not (tmp_path / "out").exists()


def test_only_what_does_not_fit_is_left_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    huge = replace(SINGLE, global_batch=2**40)
    monkeypatch.setattr(admission, "free_room", lambda: Room(GIB))
    launcher = Planted({}, 0)
    run = start_run(tmp_path / "run", launcher, [SINGLE, huge])
    run.execute()
    rows = run.finish("complete")
    assert [row.status for row in rows] == ["ok", "refused"]
    assert "the largest batch that fits is" in rows[1].reason
    assert not [name for name, _ in launcher.started if name == huge.case_id]
    # The folder tells it too.
    stored = read_run(tmp_path / "run").rows()
    assert [(row.status, row.reason) for row in stored] == [(r.status, r.reason) for r in rows]


def test_what_is_free_here_is_asked() -> None:
    assert 0 < room.free_room().host_bytes < 2**50
