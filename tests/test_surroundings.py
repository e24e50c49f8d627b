"""Foreign surroundings of the command itself: closed streams, folders, files that hide modules."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[1]


def _suite(*arguments: str, **how: Any) -> subprocess.CompletedProcess[str]:
    environment = os.environ | {"PYTHONPATH": str(ROOT)} | how.pop("env", {})
    return subprocess.run(
        [sys.executable, "-m", "suite", *arguments], stderr=subprocess.PIPE, text=True,
        check=False, env=environment, timeout=120, **{"stdout": subprocess.PIPE} | how,
    )


@pytest.mark.parametrize("numbers", [(1,), (0, 1)], ids=str)
def test_closed_streams_end_no_command(numbers: tuple[int, ...], tmp_path: Path) -> None:
    def close() -> None:
        for number in numbers:
            os.close(number)

    shutil.copytree(ROOT / "results" / "sample", tmp_path / "sample")
    done = _suite("report", str(tmp_path / "sample"), stdout=None, preexec_fn=close)
    assert done.returncode == 0 and "rror" not in done.stderr, done.stderr


def test_files_are_not_opened_in_the_place_of_closed_streams(tmp_path: Path) -> None:
    """What a library prints must not land in a file of the run."""
    code = ("import os; from suite.cli.streams import open_closed; open_closed()\n"
            f"number = os.open({str(tmp_path / 'file')!r}, os.O_WRONLY | os.O_CREAT)\n"
            "print('printed'); os.write(2, b'said'); assert number > 2; os.write(number, b'own')")
    subprocess.run([sys.executable, "-c", code], check=True, cwd=ROOT,
                   preexec_fn=lambda: [os.close(number) for number in (0, 1, 2)])
    assert (tmp_path / "file").read_bytes() == b"own"


def test_a_folder_that_is_gone(tmp_path: Path) -> None:
    (tmp_path / "gone").mkdir()
    done = _suite("list", cwd=tmp_path / "gone",
                  preexec_fn=lambda: (tmp_path / "gone").rmdir())
    assert done.returncode == 2 and "current folder: got 'one that is gone'" in done.stderr


@pytest.mark.parametrize("where", ["current folder", "PYTHONPATH"])
def test_a_file_that_hides_a_module_of_python(tmp_path: Path, where: str) -> None:
    (tmp_path / "random.py").write_text("")
    path = os.pathsep.join([str(ROOT), str(tmp_path)]) if where == "PYTHONPATH" else str(ROOT)
    folder = tmp_path if where == "current folder" else ROOT
    done = _suite("list", cwd=folder, env={"PYTHONPATH": path})
    assert done.returncode == 2 and len(done.stderr.splitlines()) == 1, done.stderr
    assert str(tmp_path / "random.py") in done.stderr and "Fix: rename it" in done.stderr


def test_a_file_that_hides_an_installed_package(tmp_path: Path) -> None:
    (tmp_path / "numpy.py").write_text("")
    done = _suite("--help", cwd=tmp_path)
    assert done.returncode == 0
    assert f"{tmp_path / 'numpy.py'} hides the installed package" in done.stderr


def test_a_full_standard_output_is_said(tmp_path: Path) -> None:
    with Path("/dev/full").open("w") as full:
        done = _suite("list", stdout=full)
    assert done.returncode == 1 and "No space left on device" in done.stderr


def test_a_workload_of_the_current_folder_reaches_the_workers(tmp_path: Path) -> None:
    """And a file beside it that is called like a package hides nothing from them."""
    (tmp_path / "mine.py").write_text(
        "from suite.contract.workloads.mlp import MlpSpec\n"
        "SPEC = MlpSpec('own', (30, 4, 1), 'breast-cancer', 16, name='mine')\n")
    (tmp_path / "psutil.py").write_text("raise RuntimeError('hidden')")
    path = os.pathsep.join(map(str, (ROOT, ROOT / "tests" / "fake_adapter")))
    command = [sys.executable, "-c", "import sys; sys.path.remove(''); import psutil\n"
               "import runpy; runpy.run_module('tests.fake_harness', run_name='__main__')",
               "run", "--workload", "mine:SPEC", "--strategy", "data", "--repeats", "1", "--steps",
               "2", "--warmup", "20", "--no-link", "--out", str(tmp_path / "out")]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False,
                          env=os.environ | {"PYTHONPATH": path}, timeout=120)
    assert done.returncode == 0, done.stdout + done.stderr
