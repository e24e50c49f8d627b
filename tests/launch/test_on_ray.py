"""What Ray is asked for, by a Ray that only notes it."""

from __future__ import annotations

import sys
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

from suite.launch.across import on_ray

NODES = [
    {"NodeID": "1", "Alive": True, "NodeManagerAddress": "10.0.0.1", "NodeManagerHostname": "a",
     "Resources": {"CPU": 4.0}},
    # Its scheduler may give no CPU away: then none is asked for.
    {"NodeID": "2", "Alive": True, "NodeManagerAddress": "10.0.0.2", "NodeManagerHostname": "b",
     "Resources": {"GPU": 2.0}},
]


class FakeRay:
    """Notes the options of each follower; they end with ``codes``."""

    def __init__(self, codes: list[int], free: bool = True) -> None:
        self.codes, self.free = iter(codes), free
        self.asked: list[dict[str, Any]] = []
        self.bundles: list[dict[str, float]] = []
        self.util = SimpleNamespace(placement_group=self._group)

    def _group(self, bundles: list[dict[str, float]], strategy: str) -> Any:
        assert strategy == "STRICT_SPREAD"
        self.bundles = bundles
        return SimpleNamespace(wait=lambda seconds: self.free)

    def get_runtime_context(self) -> Any:
        return SimpleNamespace(get_node_id=lambda: "1")

    def nodes(self) -> list[dict[str, Any]]:
        return NODES

    def remote(self, function: Any) -> Any:
        assert function is on_ray.run_here
        return SimpleNamespace(options=self._options)

    def _options(self, **options: Any) -> Any:
        self.asked.append(options)
        return SimpleNamespace(remote=lambda *arguments: next(self.codes))

    def get(self, running: list[int]) -> list[int]:
        return running


@pytest.fixture(autouse=True)
def ray_module(monkeypatch: pytest.MonkeyPatch) -> None:
    strategies: Any = ModuleType("ray.util.scheduling_strategies")
    strategies.PlacementGroupSchedulingStrategy = SimpleNamespace
    for name in ("ray", "ray.util"):
        monkeypatch.setitem(sys.modules, name, ModuleType(name))
    monkeypatch.setitem(sys.modules, strategies.__name__, strategies)
    monkeypatch.setenv(on_ray.KEY, "key")


def test_each_host_gives_what_its_slots_need_and_it_has() -> None:
    ray = FakeRay([0, 0])
    assert on_ray._start(ray, "a:2,b:2", ["follow"]) == 0
    assert [(one["num_cpus"], one["num_gpus"]) for one in ray.asked] == [(2, 0), (0, 2)]
    # A rank that has failed is the run's to judge, and not begun again.
    assert {one["max_retries"] for one in ray.asked} == {0}
    assert [one["scheduling_strategy"].placement_group_bundle_index for one in ray.asked] == [0, 1]
    assert [bundle.get("CPU") for bundle in ray.bundles] == [2, None]


def test_the_first_exit_code_but_0_is_the_whole_commands() -> None:
    assert on_ray._start(FakeRay([0, 3]), "a:2,b:2", ["follow"]) == 3


def test_devices_that_are_not_free_are_said(capsys: pytest.CaptureFixture[str]) -> None:
    assert on_ray._start(FakeRay([], free=False), "a:2", ["follow"]) == 1
    assert "has not had" in capsys.readouterr().err
