"""Secrets are hidden in what a run writes, and nothing else is."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from suite.config.model import RunConfig
from suite.contract.secrets import masked
from suite.launch.group import LaunchRequest, Outcome
from suite.measure.runner import Runner
from tests.synthetic import CASES, Planted, Still

SECRET = "s3cr3t-Value9"


@pytest.mark.parametrize(("text", "expected"), [
    (f"http://user:{SECRET}@proxy:3128/x", "http://***@proxy:3128/x"),
    (f"https://{SECRET}@host/a@b", "https://***@host/a@b"),
    (f"HF_TOKEN={SECRET} --variant fp16", "HF_TOKEN=*** --variant fp16"),
    (f"AWS_SECRET_ACCESS_KEY={SECRET}", "AWS_SECRET_ACCESS_KEY=***"),
    (f"--proxy-password={SECRET}", "--proxy-password=***"),
    (f'{{"api_key": "{SECRET}", "n": 1}}', '{"api_key": "***", "n": 1}'),
    (f"Authorization: Bearer {SECRET}", "Authorization: ***"),
    (f"x?token={SECRET}&n=3", "x?token=***&n=3"),
    ("ghp_" + "a" * 36, "***"),
    ("an AKIA" + "A" * 16 + " here", "an *** here"),
])
def test_what_is_hidden(text: str, expected: str) -> None:
    assert masked(text) == expected


@pytest.mark.parametrize("text", [
    "gpt small: 128 tokens: 4 heads", "throughput_tokens_s", "results/a@b/c", "file:///tmp/x",
    "tokenizer=bpe", "step_time:5%", "NCCL_ALGO=Ring", "needs at least 5 GB: 3 GB are free",
    "/opt/secrets/bin/python", "KeyError: 'key'", "https://docs/x", "keys=3", "monkey: 3",
    "rank 0 in proof ended with code 1: ValueError: passed: 3",
])
def test_what_is_not(text: str) -> None:
    assert masked(text) == text


def test_names_and_options_that_stand_apart() -> None:
    assert masked({"HF_TOKEN": SECRET, "n": 3, "tokens": "9", "PASSWORD": ""}) == {
        "HF_TOKEN": "***", "n": 3, "tokens": "9", "PASSWORD": ""}
    assert masked(["suite", "--token", SECRET, "run"]) == ["suite", "--token", "***", "run"]
    assert masked(("a", [{"x": f"pwd={SECRET}"}])) == ["a", [{"x": "pwd=***"}]]


def test_no_file_of_a_run_holds_a_secret(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Environment, command line, options and what a worker says of its failure."""
    def launcher(request: LaunchRequest) -> Outcome:
        if request.case.strategy == "data":
            return Outcome("failed", f"ProxyError: http://me:{SECRET}@proxy refused", 0.1, [])
        return planted(request)

    planted, folder = Planted({}, 0), tmp_path / "run"
    for name in ("HF_TOKEN", "AWS_SECRET_ACCESS_KEY", "http_proxy", "NCCL_PASSWORD"):
        monkeypatch.setenv(name, f"http://me:{SECRET}@x")
    (folder / "cases").mkdir(parents=True)
    config = RunConfig(repeats=1, python={"horovod": f"/opt/token={SECRET}/bin/python"})
    run = Runner(config, CASES, folder, lambda event: None, launcher, calibrate=Still(),  # type: ignore[arg-type]
                 command_line=["run", "--data", f"https://me:{SECRET}@host/x.npz"])
    run.execute()
    rows = run.finish("complete")
    assert rows[1].status == "failed" and "http://***@proxy refused" in rows[1].reason
    for path in (path for path in folder.rglob("*") if path.is_file()):
        assert SECRET.encode() not in path.read_bytes(), path
    written = json.loads((folder / "run.json").read_text())
    assert written["command_line"][-1] == "https://***@host/x.npz"
