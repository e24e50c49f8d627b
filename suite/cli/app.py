"""``python -m suite``: options in, exit code out. Heavy imports wait until a command needs them."""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path
from types import FrameType
from typing import Annotated, Any, Literal

import typer

from suite.cli.completion import complete_runs, completer
from suite.contract.errors import UsageError

app = typer.Typer(
    no_args_is_help=True, pretty_exceptions_enable=False,
    help="Which framework, and which way of splitting training, is fastest on these devices?",
)


def _texts(what: str) -> Any:
    return typer.Option(help="comma-separated or repeated", autocompletion=completer(what))


Run = Annotated[Path, typer.Argument(help="run folder", autocompletion=complete_runs)]
File = Annotated[Path | None, typer.Option(dir_okay=False)]
Quiet = Annotated[bool, typer.Option("--quiet", help="only the answer and the path")]
Json = Annotated[bool, typer.Option("--json", help="rows as JSON on standard output")]


@app.command()
def run(
    context: typer.Context,
    preset: Annotated[str, typer.Option(autocompletion=completer("preset"))] = "quick",
    config: Annotated[Path | None, typer.Option(help="TOML file of the same options")] = None,
    framework: Annotated[list[str] | None, _texts("framework")] = None,
    strategy: Annotated[list[str] | None, _texts("strategy")] = None,
    variant: Annotated[
        list[str] | None,
        typer.Option(help="of data: default, fsdp, fp16, bf16, multi_worker; "
                          "of inter_layer: gpipe, 1f1b, naive, interleaved",
                     autocompletion=completer("variant")),
    ] = None,
    workload: Annotated[list[str] | None, _texts("workload")] = None,
    size: Annotated[str | None, typer.Option(autocompletion=completer("size"))] = None,
    data: Annotated[str | None, typer.Option(help="real, synthetic or FILE.npz")] = None,
    mesh: Annotated[
        list[str] | None,
        typer.Option(help="axes of a combined strategy: data=2,intra_layer=2; repeated"),
    ] = None,
    batch: Annotated[int | None, typer.Option(help="samples a step, over all devices")] = None,
    devices: Annotated[
        list[str] | None, typer.Option(help="how many share a step: 2, or a list: 2,4,8")
    ] = None,
    device: Annotated[str | None, typer.Option(help="cpu, cuda or auto")] = None,
    dtype: Annotated[list[str] | None, _texts("dtype")] = None,
    mode: Annotated[list[str] | None, _texts("mode")] = None,
    oversubscribe: Annotated[
        bool, typer.Option("--oversubscribe", help="let ranks share a GPU, over gloo")
    ] = False,
    accumulate: Annotated[
        list[str] | None, typer.Option(help="micro-batches a device adds up before an update")
    ] = None,
    steps: int | None = None,
    warmup: Annotated[int | None, typer.Option(help="most steps before measuring")] = None,
    repeats: Annotated[int | None, typer.Option(help="launches a case, at most")] = None,
    precision: Annotated[str | None, typer.Option(help="half-width to stop at: 3%")] = None,
    budget: Annotated[str | None, typer.Option(help="time for all blocks: 90s, 20m, 1.5h")] = None,
    probes: Annotated[int | None, typer.Option(help="launches of a case with probes")] = None,
    probe_steps: Annotated[int | None, typer.Option(help="steps of each probing pass")] = None,
    timeline: Annotated[bool, typer.Option("--timeline", help="keep a profiler's trace")] = False,
    seed: int | None = None,
    timeout: Annotated[float | None, typer.Option(help="seconds a launch may take")] = None,
    python: Annotated[list[str] | None, typer.Option(help="FRAMEWORK=INTERPRETER")] = None,
    link: Annotated[
        bool | None, typer.Option(help="sweep the links first, so that T_comm has a prediction")
    ] = None,
    find_max_batch: Annotated[
        bool, typer.Option("--find-max-batch", help="then search each cell's largest batch")
    ] = False,
    memory_limit: Annotated[
        str | None, typer.Option(help="a device's, in that search: 512MiB, 2GiB")
    ] = None,
    batch_resolution: Annotated[
        str | None, typer.Option(help="where that search ends: 5%")
    ] = None,
    device_speeds: Annotated[
        str | None, typer.Option(help="plan shares by them: 1,0.5 or measured")
    ] = None,
    out: Path = Path("results"),
    resume: Annotated[
        Path | None, typer.Option(help="go on with this run", autocompletion=complete_runs)
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="print the matrix only")] = False,
    quiet: Quiet = False,
    json: Json = False,
) -> None:
    """Run the matrix, print the comparison table, write the run folder."""
    from suite.cli.commands import resume_matrix, run_matrix

    options: dict[str, Any] = {
        "framework": _split(framework), "strategy": _split(strategy), "variant": _split(variant),
        "workload": _split(workload), "size": size, "data": data, "batch": batch,
        "mesh": mesh, "devices": _split(devices), "device": device, "dtype": _split(dtype),
        "mode": _split(mode), "oversubscribe": oversubscribe or None,
        "accumulate": _split(accumulate), "steps": steps, "warmup": warmup, "repeats": repeats,
        "precision": precision, "budget": budget, "probes": probes,
        "probe_steps": probe_steps, "timeline": timeline or None, "seed": seed,
        "timeout": timeout, "python": _pairs(python), "link": link,
        "find_max_batch": find_max_batch or None, "memory_limit": memory_limit,
        "batch_resolution": batch_resolution, "device_speeds": device_speeds,
    }
    if resume:
        _refuse_beside_resume(context)
        raise typer.Exit(resume_matrix(resume, options, _shape(quiet, json)))
    raise typer.Exit(run_matrix(preset, config, options, out, _shape(quiet, json), dry_run))


def _shape(quiet: bool, json: bool) -> Literal["table", "quiet", "json"]:
    return "json" if json else "quiet" if quiet else "table"


def _refuse_beside_resume(context: typer.Context) -> None:
    for name in ("preset", "config", "out", "dry_run"):
        source = context.get_parameter_source(name)
        if source and source.name == "COMMANDLINE":
            option = f"--{name.replace('_', '-')}"
            fix = "drop it: a resumed run keeps its folder and configuration"
            raise UsageError(option, context.params[name], "nothing beside --resume", fix)


@app.command()
def report(
    run: Run,
    from_records: Annotated[
        bool, typer.Option("--from-records", help="read the ranks' records, not samples.sqlite")
    ] = False,
    export_pytest_benchmark: File = None,
    quiet: Quiet = False,
    json: Json = False,
) -> None:
    """Render a run folder again, also one of an older version."""
    from suite.cli.report import report as render

    shape = _shape(quiet, json)
    raise typer.Exit(render(run, from_records, export_pytest_benchmark, shape))


@app.command()
def compare(
    runs: Annotated[
        list[Path],
        typer.Argument(help="run folders or pytest-benchmark files, the older first",
                       autocompletion=complete_runs),
    ],
    metric: Annotated[
        list[str] | None,
        typer.Option(help="step_time (default), throughput, peak_memory, t_comm, …",
                     autocompletion=completer("metric")),
    ] = None,
    fail_on: Annotated[
        list[str] | None, typer.Option(help='exit with 3 beyond it: "step_time:5%"')
    ] = None,
    each_alone: Annotated[
        bool, typer.Option("--each-alone", help="95 % for each verdict, not for all together")
    ] = False,
    json: Annotated[bool, typer.Option("--json", help="print JSON")] = False,
    markdown: File = None,
    html: File = None,
) -> None:
    """Compare runs with the first of them; significance-tested, for people and CI."""
    from suite.cli.compare import Outputs
    from suite.cli.compare import compare as compare_paths

    outputs = Outputs(json, markdown, html)
    code = compare_paths(runs, _split(metric), _split(fail_on), each_alone, outputs)
    raise typer.Exit(code)


@app.command()
def history(
    folder: Annotated[Path, typer.Argument(help="folder of run folders")] = Path("results"),
    json: Annotated[bool, typer.Option("--json", help="print JSON")] = False,
    html: File = None,
) -> None:
    """Show each case over the runs of a folder, and where its level changed."""
    from suite.cli.history import history as show

    raise typer.Exit(show(folder, json, html))


@app.command("link")
def link_(
    framework: Annotated[list[str] | None, _texts("framework")] = None,
    collective: Annotated[list[str] | None, _texts("collective")] = None,
    devices: int | None = None,
    device: Annotated[str | None, typer.Option(help="cpu, cuda or auto")] = None,
    bytes_min: Annotated[str | None, typer.Option(help="smallest payload, for example 4")] = None,
    bytes_max: Annotated[str | None, typer.Option(help="largest payload: 16MiB")] = None,
    repetitions: Annotated[int | None, typer.Option(help="at most, of every size")] = None,
    timeout: Annotated[float | None, typer.Option(help="seconds a sweep may take")] = None,
    python: Annotated[list[str] | None, typer.Option(help="FRAMEWORK=INTERPRETER")] = None,
    interface: Annotated[str | None, typer.Option(help="network interface of gloo")] = None,
    out: Path = Path("results"),
) -> None:
    """Measure the links between devices: alpha, latency, bandwidth, and where they hold."""
    from suite.cli.link import sweep_links

    options: dict[str, Any] = {
        "framework": _split(framework), "collective": _split(collective), "devices": devices,
        "device": device, "bytes_min": bytes_min, "bytes_max": bytes_max,
        "repetitions": repetitions, "timeout": timeout, "python": _pairs(python),
        "interface": interface,
    }
    raise typer.Exit(sweep_links(options, out))


@app.command("list")
def list_() -> None:
    """Frameworks, strategies, workloads and presets, and what is missing here."""
    from suite.cli.commands import list_everything

    list_everything()


@app.command()
def doctor(json: Annotated[bool, typer.Option("--json", help="print JSON")] = False) -> None:
    """Check machine, frameworks, transports and devices, with a fix for what is missing."""
    from suite.cli.doctor import diagnose

    raise typer.Exit(diagnose(json))


def _split(values: list[str] | None) -> list[str]:
    """Names of a list; one that is given and empty is a mistake, such as an unset variable."""
    parts = [part.strip() for value in values or [] for part in value.split(",") if part.strip()]
    if values and not parts:
        fix = "name one or more, or leave the option out"
        raise UsageError("a list option", ",".join(values), "comma-separated names", fix)
    return parts


def _pairs(values: list[str] | None) -> dict[str, str]:
    pairs = {}
    for value in values or []:
        name, found, path = value.partition("=")
        if not found or not Path(path).exists():
            fix = "for example --python horovod=/opt/hvd/bin/python"
            raise UsageError("--python", value, "FRAMEWORK=existing interpreter", fix)
        pairs[name] = path
    return pairs


@app.callback()
def common(
    debug: Annotated[bool, typer.Option(help="show tracebacks of errors")] = False,
) -> None:
    """Options before the command."""
    Settings.debug = debug


class Settings:
    """Set once, before a command starts."""

    debug = False


def main() -> None:
    """Exit codes: 0, 1, 2, 3, 4 as documented, 130 when interrupted."""
    # A batch system ends a job with SIGTERM: leave as on Ctrl-C, with the workers ended.
    signal.signal(signal.SIGTERM, _interrupt)
    try:
        app(prog_name=_program())
    except UsageError as error:
        _end(f"error: {error}", 2)
    except KeyboardInterrupt:
        _end("interrupted", 130)
    except Exception as error:
        _end(f"error: {type(error).__name__}: {error} (--debug shows where)", 1)


def _program() -> str | None:
    """Shells complete one word: the installed script's, however the script was asked for."""
    asked = sys.argv[1:2] in (["--show-completion"], ["--install-completion"])
    if asked and sys.argv[2:]:
        # Typer looks at the parent process unless told not to; a job or a container has no shell.
        os.environ["_TYPER_COMPLETE_TEST_DISABLE_SHELL_DETECTION"] = "1"
    return "suite" if asked or "_SUITE_COMPLETE" in os.environ else None


def _interrupt(_number: int, _frame: FrameType | None) -> None:
    raise KeyboardInterrupt


def _end(message: str, code: int) -> None:
    if Settings.debug:
        raise  # noqa: PLE0704 - the exception being handled by the caller
    print(message, file=sys.stderr)
    sys.exit(code)
