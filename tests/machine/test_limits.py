"""A container's CPU quota counts beside the affinity."""

from __future__ import annotations

from pathlib import Path

import pytest

from suite.machine import limits
from suite.machine.limits import cpu_quota, usable_cores


def _plant(tmp_path: Path, own: str, **files: str) -> tuple[Path, Path]:
    cgroup, mounted = tmp_path / "cgroup", tmp_path / "fs"
    cgroup.write_text(own)
    mounted.mkdir()
    for name, text in files.items():
        path = mounted / name.replace("__", "/")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.with_name(path.name.replace("cpu_max", "cpu.max").replace("cfs_", "cpu.cfs_")
                       ).write_text(text)
    return cgroup, mounted


@pytest.mark.parametrize(("own", "files", "quota"), [
    ("0::/a/b\n", {"a__cpu_max": "150000 100000\n", "a__b__cpu_max": "max 100000\n"}, 1.5),
    ("0::/a/b\n", {"a__cpu_max": "400000 100000\n", "a__b__cpu_max": "50000 100000\n"}, 0.5),
    # In a container the mount's root is its group, whatever its path is called outside.
    ("0::/../elsewhere\n", {"cpu_max": "200000 100000\n"}, 2.0),
    ("4:cpu,cpuacct:/x\n", {"cpu__x__cfs_quota_us": "100000\n",
                            "cpu__x__cfs_period_us": "100000\n"}, 1.0),
    ("4:cpu,cpuacct:/x\n", {"cpu__x__cfs_quota_us": "-1\n",
                            "cpu__x__cfs_period_us": "100000\n"}, None),
    ("0::/\n", {}, None), ("garbage", {}, None),
    # What a broken mount or an emulation may show; lines and files of another form are passed over.
    ("garbage\n0::/\n", {"cpu_max": "200000 100000\n"}, 2.0),
    ("0::/a\n", {"a__cpu_max": "many\n", "cpu_max": "100000 100000\n"}, 1.0),
    ("0::/\n", {"cpu_max": ""}, None), ("0::/\n", {"cpu_max": "100000\n"}, None),
    ("0::/\n", {"cpu_max": "100000 0\n"}, None), ("0::/\n", {"cpu_max": "-5 100000\n"}, None),
    ("0::/\n", {"cpu_max": "9" * 400 + " 100000\n"}, None),
    ("0::/\n", {"cpu_max": "nan 100000\n"}, None), ("0::/\n", {"cpu_max": "\0\0"}, None),
    ("4:cpu:/x\n", {"cpu__x__cfs_quota_us": "100000\n"}, None),
    ("0::/" + "a/" * 300 + "\n", {"cpu_max": "200000 100000\n"}, 2.0),
])
def test_planted_quotas(
    tmp_path: Path, own: str, files: dict[str, str], quota: float | None
) -> None:
    assert cpu_quota(*_plant(tmp_path, own, **files)) == quota


def test_cores_that_can_be_busy_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "allowed_cores", lambda: [0, 1, 2, 3])
    assert usable_cores(*_plant(tmp_path, "0::/\n", cpu_max="250000 100000\n")) == 2
    (tmp_path / "fs" / "cpu.max").write_text("10000 100000\n")
    assert usable_cores(tmp_path / "cgroup", tmp_path / "fs") == 1
    (tmp_path / "fs" / "cpu.max").write_text("max 100000\n")
    assert usable_cores(tmp_path / "cgroup", tmp_path / "fs") == 4
