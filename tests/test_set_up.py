"""The set-up says in plain lines what it does; a program's own words only where it fails."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from scripts import first_look, install
from scripts.install import for_uv, merged
from scripts.step import Left

ROOT = Path(__file__).resolve().parents[1]
STEP = ROOT / "scripts" / "step.py"


def _step(log: Path, code: str, *options: str) -> subprocess.CompletedProcess[str]:
    program = [sys.executable, "-c", code]
    command = [sys.executable, str(STEP), *options, "Packages", str(log), *program]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_a_step_that_goes_well_is_two_lines_without_its_words(tmp_path: Path) -> None:
    log = tmp_path / "logs" / "setup.log"
    done = _step(log, "import sys; print('WARNING: one'); print('WARNING: two', file=sys.stderr)")
    assert (done.returncode, done.stderr) == (0, "")
    first, last = done.stdout.splitlines()
    assert first == "Packages ..." and last.startswith("Packages: done in ")
    assert {"WARNING: one", "WARNING: two"} <= set(log.read_text().splitlines())


def test_a_step_that_fails_shows_its_own_last_words_and_where_the_rest_is(tmp_path: Path) -> None:
    log = tmp_path / "setup.log"
    log.write_text("of the step before\n")
    done = _step(log, "print(*range(100), sep='\\n'); raise SystemExit(7)")
    assert done.returncode == 7 and "Packages: FAILED with code 7" in done.stdout
    said = done.stderr.splitlines()
    assert said[0] == "60" and said[-2] == "99" and said[-1] == f"All of it: {log}"
    assert "of the step before" not in done.stderr


def test_a_step_that_has_a_substitute_says_so_and_goes_on(tmp_path: Path) -> None:
    log = tmp_path / "setup.log"
    done = _step(log, "raise SystemExit('no such package')", "--instead", "pip does it")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines()[-1] == f"Packages: pip does it (why: {log})"
    assert "no such package" in log.read_text()


def test_what_is_left_follows_from_the_percentages_or_from_what_is_usual(tmp_path: Path) -> None:
    log = tmp_path / "log"
    before = "[ 99%] of the step before\n"
    log.write_text(before)
    left = Left(log, len(before), usual=100.0, began=1000.0)
    assert left.seconds(1030.0) == 70.0
    for percent, now, seconds in ((10, 1040.0, 60.0), (30, 1060.0, 70.0), (60, 1090.0, 40.0)):
        with log.open("a") as stream:
            stream.write(f"[ {percent}%] Building CXX object\n")
        assert left.seconds(now) == seconds
    assert Left(log, len(log.read_bytes()), usual=0.0, began=1000.0).seconds(1001.0) is None
    assert Left(log, len(log.read_bytes()), usual=5.0, began=1000.0).seconds(1006.0) is None


# As `pip config list` prints them; of several sections the later one in force counts.
LISTED = """\
:env:.find-links='/wheels'
global.constraint='/etc/a.txt ~/b.txt'
global.extra-index-url='https://cpu.example/whl\\nfile:///mirror/simple'
global.find-links='/elsewhere'
global.index-url='https://user:p%40ss@index.example/simple'
global.timeout='15'
install.timeout='60'
install.trusted-host='index.example cpu.example:8080'
user.name='nobody'
"""


def test_uv_looks_where_pip_would_look() -> None:
    settings = merged(LISTED)
    assert settings["find-links"] == "/wheels" and settings["timeout"] == "60"
    found = for_uv(settings | {"cert": "/own.pem", "no-cache-dir": "true"}, {})
    assert found == {
        "UV_DEFAULT_INDEX": "https://user:p%40ss@index.example/simple",
        "UV_INDEX": "https://cpu.example/whl file:///mirror/simple",
        "UV_INDEX_STRATEGY": "unsafe-best-match",
        "UV_INSECURE_HOST": "index.example cpu.example:8080",
        "UV_FIND_LINKS": "/wheels", "UV_HTTP_TIMEOUT": "60", "UV_NO_CACHE": "1",
        "UV_CONSTRAINT": f"/etc/a.txt {Path.home()}/b.txt", "SSL_CERT_FILE": "/own.pem",
    }


def test_what_the_user_says_to_uv_stays_and_hashes_need_no_constraints() -> None:
    settings = merged(LISTED)
    found = for_uv(settings, {"UV_DEFAULT_INDEX": "https://mine.example"}, hashed=True)
    assert "UV_DEFAULT_INDEX" not in found and "UV_CONSTRAINT" not in found
    assert "UV_INDEX" in found


def test_uv_installs_where_it_is_at_hand_and_else_the_environments_own_pip(
    monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("INSTALLER", raising=False)
    monkeypatch.setattr(install, "settings_of_pip", lambda: {"no-index": "1", "timeout": "60"})
    monkeypatch.setattr(install, "find_spec", lambda _name: object())
    command, variables = install.installing("/other/python", ["-q", "numpy"])
    assert command == [sys.executable, "-m", "uv", "pip", "install", "--python", "/other/python",
                       "--no-index", "-q", "numpy"]
    assert variables["UV_HTTP_TIMEOUT"] == "60" and "PATH" in variables
    pip = ["/other/python", "-m", "pip", "install", "-q", "numpy"]
    monkeypatch.setenv("INSTALLER", "pip")
    assert install.installing("/other/python", ["-q", "numpy"])[0] == pip
    monkeypatch.delenv("INSTALLER")
    monkeypatch.setattr(install, "find_spec", lambda _name: None)
    assert install.installing("/other/python", ["-q", "numpy"])[0] == pip


def test_pip_trusts_the_system_from_a_release_on(monkeypatch: pytest.MonkeyPatch) -> None:
    for version, system in (("24.1.2", False), ("24.2", True), ("26.0.1", True)):
        monkeypatch.setattr(install.metadata, "version", lambda _name, own=version: own)
        assert ("UV_SYSTEM_CERTS" in for_uv({}, {})) == system
        assert "UV_SYSTEM_CERTS" not in for_uv({"cert": "/own.pem"}, {})


def test_a_first_look_imports_what_is_installed_once_an_engine(
    monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(first_look, "installed_version", lambda names: "1")
    (torch, others), (flow, _), harness = first_look.looks()
    assert torch == ["adapters.pytorch.session", "torch._dynamo",
                     "adapters.horovod.splits.torch_engine.session", "torch._dynamo"]
    assert "adapters.pytorch.splits.intra_layer" in others
    assert not any("tensorflow" in name for name in [*torch, *others])
    assert not any("torch" in name for name in flow) and harness == ([], list(first_look.HARNESS))
    monkeypatch.setattr(first_look, "installed_version",
                        lambda names: "" if "horovod" in names else "1")
    assert not any("horovod" in name for look in first_look.looks() for name in look[0])


def test_a_first_look_leaves_bytecode_where_nobody_else_would(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("seen", "also"):
        (tmp_path / f"{name}.py").write_text("")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    monkeypatch.setenv("PYTHONDONTWRITEBYTECODE", "1")
    monkeypatch.delenv("PYTHONPYCACHEPREFIX", raising=False)
    assert first_look.imported((["seen"], ["no_such_module", "also"])) == ""
    assert len(list((tmp_path / "__pycache__").glob("*.pyc"))) == 2
    assert first_look.imported((["seen", "no_such_module"], [])) == "seen no_such_module"


def test_the_set_up_goes_on_where_horovod_cannot_be_built(tmp_path: Path) -> None:
    """With programs in place of the interpreter and of its environment, which end at once."""
    names = ("requirements.txt", "requirements.lock", "requirements-uv.lock", "pyproject.toml",
             "scripts/setup.mk", "scripts/step.py", "scripts/build_horovod.py")
    for name in names:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        shutil.copy(ROOT / name, tmp_path / name)
    binary = tmp_path / ".venv" / "bin"
    binary.mkdir(parents=True)
    program = binary / "python"
    program.write_text('#!/bin/sh\ncase "$1" in scripts/step.py) '
                       f'exec {sys.executable} "$@";; esac\n'
                       'case "$*" in *build_horovod*) echo "no compiler"; exit 1;; esac\n')
    program.chmod(0o755)
    command = ["make", "-f", "scripts/setup.mk", "setup", f"PYTHON={program}", "GPU="]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "no compiler" in done.stderr and "goes on without Horovod. To try again" in done.stdout
    assert "First look at the frameworks: done" in done.stdout
    assert (tmp_path / ".venv" / ".ready").exists()
