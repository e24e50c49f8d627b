"""A folder on another host and the harness's copy of it, by the messages between them."""

from __future__ import annotations

import os
import socket
from pathlib import Path

import pytest

from suite.launch.across import mirror
from suite.launch.across.channel import Message, store
from suite.launch.across.follower import free_ports, interface_of, place_given
from suite.launch.across.mirror import LOG, Mirror

CHUNK = 4


class Wire:
    """Carries messages into a folder, and counts them by file."""

    def __init__(self, target: Path) -> None:
        self.target, self.pieces = target, dict[str, list[int]]()

    def __call__(self, kind: str, payload: bytes = b"", **fields: object) -> None:
        assert kind == "file"
        self.pieces.setdefault(str(fields["name"]), []).append(len(payload))
        store(self.target, Message(kind, fields, payload))


@pytest.fixture
def there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder on the other host."""
    monkeypatch.setattr(mirror, "CHUNK_BYTES", CHUNK)
    (tmp_path / "there").mkdir()
    (tmp_path / "here").mkdir()
    return tmp_path / "there"


@pytest.fixture
def wire(there: Path) -> Wire:
    return Wire(there.parent / "here")


@pytest.mark.parametrize(("size", "pieces"), [
    (0, [0]), (3, [3]), (4, [4]), (5, [4, 1]), (8, [4, 4]), (9, [4, 4, 1]),
])
def test_files_arrive_whole_in_pieces(
    there: Path, wire: Wire, size: int, pieces: list[int]
) -> None:
    content = bytes(range(size))
    (there / "rank-0.json").write_bytes(content)
    Mirror(there, wire, ()).update()
    assert (wire.target / "rank-0.json").read_bytes() == content
    assert wire.pieces == {"rank-0.json": pieces}
    assert [path.name for path in wire.target.iterdir()] == ["rank-0.json"]


def test_only_what_has_changed_is_sent_again(there: Path, wire: Wire) -> None:
    path, own = there / "phase-0", Mirror(there, wire, ("case.json",))
    for name in ("case.json", "rank-0.json.part"):
        (there / name).write_text("x")
    (there / "compiled").mkdir()
    path.write_text("a")
    own.update()
    own.update()
    assert wire.pieces == {"phase-0": [1]}
    path.write_text("bc")  # another size
    own.update()
    path.write_text("de")  # the same size at another time
    os.utime(path, ns=(1, 1))
    own.update()
    assert wire.pieces == {"phase-0": [1, 2, 2]}
    assert (wire.target / "phase-0").read_text() == "de"


def test_a_log_grows_by_a_piece_at_a_time(there: Path, wire: Wire) -> None:
    own = Mirror(there, wire, ())
    own.update()  # there is none yet
    (there / LOG).write_bytes(b"abcdefg")
    for copied in (b"abcd", b"abcdefg", b"abcdefg"):
        own.update()
        assert (wire.target / LOG).read_bytes() == copied
    with (there / LOG).open("ab") as log:
        log.write(b"h")
    own.update()
    assert (wire.target / LOG).read_bytes() == b"abcdefgh" and wire.pieces[LOG] == [4, 3, 1]


@pytest.mark.parametrize("name", ["../x", "a/b", "", ".hidden", "a b"])
def test_no_file_leads_out_of_the_folder(there: Path, wire: Wire, name: str) -> None:
    with pytest.raises(ValueError, match="no plain file name"):
        wire("file", b"x", name=name, offset=0, last=True, grows=False)
    assert not list(wire.target.iterdir())


def test_a_place_is_the_innermost_engines() -> None:
    assert place_given({}) == 0
    assert place_given({"RANK": "3", "SLURM_PROCID": "2"}) == 2
    assert place_given({"RANK": "3", "HOROVOD_RANK": "1"}) == 1


def test_ports_are_free_and_all_different() -> None:
    found = free_ports(5)
    assert len(set(found)) == 5
    with socket.socket() as own:
        own.bind(("", found[0]))


def test_an_address_has_its_interface() -> None:
    assert interface_of("127.0.0.1") == "lo" and interface_of("203.0.113.7") == ""


def test_a_file_that_is_begun_again_has_nothing_of_the_first_beginning(tmp_path: Path) -> None:
    def send(payload: bytes, offset: int, last: bool) -> None:
        fields = {"name": "case.json", "grows": False, "offset": offset, "last": last}
        store(tmp_path, Message("file", fields, payload))

    send(b"lost", 0, False)
    send(b"ab", 0, False)
    send(b"cd", 2, True)
    assert (tmp_path / "case.json").read_bytes() == b"abcd"
