"""Files that were cut off, or written by others, are refused with what is wrong and where."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from suite.contract.errors import UsageError
from suite.runfolder.reading import read_run
from suite.runfolder.tables import read_fits, read_links, read_probes
from suite.runfolder.validated import read_json, read_table

SAMPLE = Path(__file__).parents[2] / "results" / "sample"
FITS = "framework,engine,collective,backend,transport,devices,alpha_s_per_byte\n"


@pytest.mark.parametrize(("text", "words"), [
    ("a,b\n1\n", "line 2"), ("a,b\n1,2,3\n", "line 2"), ("c\n1\n", "the columns a"),
    ("", "the columns a"), ('a,b\n"1,2\n', "line 2"),
])
def test_a_table_that_was_cut_off(tmp_path: Path, text: str, words: str) -> None:
    (tmp_path / "t.csv").write_text(text)
    with pytest.raises(UsageError, match=words):
        read_table(tmp_path / "t.csv", ["a"])


def test_a_table_of_bytes(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_bytes(b"a,b\n\xff\xfe,1\n")
    with pytest.raises(UsageError, match="UTF-8"):
        read_table(tmp_path / "t.csv")


def test_no_table_is_an_empty_one(tmp_path: Path) -> None:
    assert read_table(tmp_path / "t.csv", ["a"]) == []


@pytest.mark.parametrize(("row", "words"), [
    ("pytorch,torch,all_reduce,gloo,tcp,two,1e-9", "row 0.devices"),
    ("pytorch,torch,all_reduce,gloo,tcp,2,fast", "row 0.alpha_s_per_byte"),
])
def test_a_fit_that_is_none(tmp_path: Path, row: str, words: str) -> None:
    (tmp_path / "link_fit.csv").write_text(FITS + row + "\n")
    with pytest.raises(UsageError, match=words):
        read_fits(tmp_path)


SAMPLES = "framework,engine,collective,bytes,repetition,rank,start_s,end_s\n"


@pytest.mark.parametrize(("text", "words"), [
    ("", "the columns framework"), ("a,b\n1,2\n", "the columns framework"),
    (SAMPLES + "p,t,all_reduce,many,0,0,1,2\n", "bytes: got 'many'"),
    (SAMPLES + "p,t,all_reduce,4,0,0,nan,2\n", "start_s: got 'nan'"),
    (SAMPLES + "p,t,all_reduce,4,0,0,1,1e308\n", "end_s: got '1e308'"),
    (SAMPLES + "p,t,all_reduce,4,0,0,1\n", "as many cells as columns"),
])
def test_samples_of_a_link_that_are_none(tmp_path: Path, text: str, words: str) -> None:
    (tmp_path / "link.csv").write_text(text)
    with pytest.raises(UsageError, match=words):
        read_links(tmp_path)


def test_a_probe_that_is_none(tmp_path: Path) -> None:
    (tmp_path / "frontier.csv").write_text("case_id,batch,status,reason\nx,many,ok,\n")
    with pytest.raises(UsageError, match="row 0.batch"):
        read_probes(tmp_path)


def test_json_that_is_too_deep(tmp_path: Path) -> None:
    (tmp_path / "run.json").write_text("[" * 200_000)
    with pytest.raises(UsageError, match="valid JSON"):
        read_json(tmp_path / "run.json", "RUN")


def test_half_a_character_of_a_command_line_is_read_again(tmp_path: Path) -> None:
    run = {"command_line": ["run", "--out", b"caf\xe9".decode("utf-8", "surrogateescape")]}
    (tmp_path / "run.json").write_text(json.dumps(run))
    assert read_json(tmp_path / "run.json", "RUN") == run


@pytest.mark.parametrize("name", ["link_fit.csv", "link.csv"])
@pytest.mark.parametrize("share", [0.37, 0.9])
def test_a_run_with_a_file_that_was_cut_off(tmp_path: Path, name: str, share: float) -> None:
    """It is read, or refused; never a Python error."""
    folder = tmp_path / "run"
    shutil.copytree(SAMPLE, folder, ignore=shutil.ignore_patterns("cases"))
    content = (folder / name).read_bytes()
    (folder / name).write_bytes(content[: int(len(content) * share)])
    try:
        samples, fits = read_links(folder)
        assert samples and fits and read_run(folder).fits == fits
    except UsageError as error:
        assert name in str(error)
