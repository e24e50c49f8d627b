"""Where ranks are on several hosts, and which links their groups cross."""

from __future__ import annotations

import pytest

from suite.contract.case import Case
from suite.contract.hosts import Host, Place, crowding, dealt, hosts_needed, places, spans


def _case(strategy: str, devices: int, mesh: str = "") -> Case:
    variant = "gpipe" if "inter_layer" in strategy else ""
    return Case("fake", "numpy", strategy, variant, "mlp", "wide", "synthetic", "cpu", devices,
                mesh=mesh, hosts=2)


def test_the_ranks_of_a_host_follow_each_other() -> None:
    found = places([Host("a", 2), Host("b", 1)])
    assert found == [Place(0, 0), Place(0, 1), Place(1, 0)]


@pytest.mark.parametrize(("devices", "slots", "shares"), [
    (4, [2, 2], [2, 2]), (3, [2, 2], [2, 1]), (2, [4, 4], [1, 1]), (6, [4, 2], [4, 2]),
    (5, [1, 8], [1, 4]),
])
def test_devices_are_dealt_as_evenly_as_slots_allow(
    devices: int, slots: list[int], shares: list[int]
) -> None:
    assert dealt(devices, slots) == shares


def test_the_first_hosts_are_filled_before_others_are_used() -> None:
    assert [hosts_needed(devices, [2, 2, 4]) for devices in (1, 2, 3, 4, 5, 8)] == [
        1, 1, 2, 2, 3, 3]
    assert [crowding(3, 2, [2, 2]), crowding(2, 1, [2, 2])] == [2, 2]
    with pytest.raises(ValueError, match="9 devices do not fit into 8 slots"):
        hosts_needed(9, [2, 2, 4])


def test_groups_of_a_mesh_stay_inside_a_host_or_cross_it() -> None:
    on = ["a", "a", "b", "b"]
    assert spans(_case("data", 4), on) == {"data": {2}}
    # Shards are neighbours and share a host; replicas of 2 cross it.
    mesh = {"data": {2}, "intra_layer": {1}}
    assert spans(_case("data+intra_layer", 4, "data=2,intra_layer=2"), on) == mesh
    wide = _case("data+intra_layer", 8, "data=2,intra_layer=4")
    assert spans(wide, ["a"] * 4 + ["b"] * 4) == mesh
    # Hops 0-1 and 2-3 stay, 1-2 and 3-0 cross.
    assert spans(_case("inter_layer", 4), on) == {"inter_layer": {1, 2}}
    assert spans(_case("inter_layer", 2), ["a", "b"]) == {"inter_layer": {2}}
