"""The images as far as they show without a container engine: their first layers, user and flags."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from suite.machine.checks import LITTLE_SHARED_MEMORY

ROOT = Path(__file__).resolve().parents[1]
TEXT = (ROOT / "Dockerfile").read_text(encoding="utf-8").replace("\\\n", " ")
# Of README's build for GPUs, and the Dockerfile's own.
TARGETS = ["packages", "packages tensorflow-gpu"]
UNITS = {"m": 1 << 20, "g": 1 << 30}


@pytest.fixture
def layer(tmp_path: Path) -> Path:
    """A folder with nothing but what the stage of the packages copies."""
    stage = TEXT.partition("AS packages")[2].partition("\nFROM")[0]
    for copied in re.findall(r"^COPY (.+)$", stage, re.MULTILINE):
        *files, folder = copied.split()
        for name in files:
            place = tmp_path / folder / Path(name).name
            place.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, place)
    return tmp_path


@pytest.mark.parametrize("targets", TARGETS)
def test_the_first_layer_has_all_that_installing_takes(layer: Path, targets: str) -> None:
    done = subprocess.run(["make", "-n", "-f", "scripts/setup.mk", *targets.split()], cwd=layer,
                          capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    programs = set(re.findall(r"scripts/\w+\.py", done.stdout))
    assert {"scripts/install.py", "scripts/build_horovod.py"} <= programs
    assert [name for name in programs if not (layer / name).exists()] == []
    assert ("requirements-tensorflow-gpu.txt" in done.stdout) == ("gpu" in targets)


def test_horovod_is_built_from_the_first_layer_alone(layer: Path) -> None:
    code = "from scripts import build_horovod; print(build_horovod.flags()['HOROVOD_WITH_GLOO'])"
    done = subprocess.run([sys.executable, "-P", "-c", code], cwd=layer, capture_output=True,
                          text=True, check=False, env=os.environ | {"PYTHONPATH": str(layer)})
    assert (done.stdout, done.stderr) == ("1\n", "")


@pytest.mark.parametrize("users", [["root:0"], ["root:0", "ubuntu:1000"]])
def test_the_user_can_be_made_where_an_image_has_one_of_its_number(
    tmp_path: Path, users: list[str]
) -> None:
    """As Ubuntu's have; with programs that know a list of users in place of the system's own."""
    known = tmp_path / "users"
    known.write_text("\n".join(users) + "\n")
    programs = {
        "userdel": f'grep -q "^$2:" {known} || exit 6; sed -i "/^$2:/d" {known}',
        "useradd": f'grep -q ":$3$" {known} && exit 4; echo "$4:$3" >> {known}',
    }
    for name, body in programs.items():
        (tmp_path / name).write_text(f"#!/bin/sh\n{body}\n")
        (tmp_path / name).chmod(0o755)
    (line,) = re.findall(r"\(userdel .*useradd [^&]+", TEXT)
    done = subprocess.run(["sh", "-c", line], check=False,
                          env={"PATH": f"{tmp_path}:/usr/bin:/bin"})
    assert done.returncode == 0
    assert known.read_text().split() == ["root:0", "suite:1000"]


def test_a_container_on_gpus_is_lent_the_memory_that_nccl_needs() -> None:
    """What the doctor would warn of is in no command that the README gives."""
    readme = (ROOT / "README.md").read_text(encoding="utf-8").replace("\\\n", " ")
    commands = [shlex.split(line) for line in readme.splitlines()
                if line.startswith("docker run") and "--gpus" in line]
    assert commands
    for words in commands:
        (size,) = [word.partition("=")[2] for word in words if word.startswith("--shm-size")]
        assert int(size[:-1]) * UNITS[size[-1]] >= LITTLE_SHARED_MEMORY
        assert words[words.index("--ulimit") + 1] == "memlock=-1"
