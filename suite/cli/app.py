"""``python -m suite``: declares the commands and maps errors to exit codes."""

from __future__ import annotations

import signal
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from suite.cli import streams
from suite.cli.completion import complete_runs, completer
from suite.cli.parameters import (
    FaultColumns,
    FaultKinds,
    FaultPhases,
    File,
    Json,
    Out,
    PlantFaults,
    PrintJson,
    ProfileHarness,
    Quiet,
    Run,
    SoakMinutes,
    SoakSeed,
    WholeMatrix,
    given_options,
    shape_of,
    split,
    with_options,
)
from suite.cli.program import Commands, check_folder, interrupt, program_name
from suite.config.foresight import ForesightConfig
from suite.config.model import AbConfig, RunConfig
from suite.config.sweep_model import LinkConfig
from suite.contract.errors import UsageError

app = typer.Typer(
    cls=Commands, no_args_is_help=True, pretty_exceptions_enable=False,
    help="Which framework, and which way of splitting training, is fastest on these devices?",
)


class Settings:
    """Options that hold for every command; they are set before the command starts."""

    debug = False


# Each command imports its module only when it is called, so that --help stays fast.


@app.command()
@with_options(RunConfig, after="config")
def run(
    context: typer.Context,
    preset: Annotated[
        str, typer.Option(autocompletion=completer("preset"), envvar="SUITE_PRESET",
                          show_envvar=False)
    ] = "quick",
    config: Annotated[
        Path | None, typer.Option(help="TOML file of the same options", envvar="SUITE_CONFIG",
                                  show_envvar=False)
    ] = None,
    out: Out = Path("results"),
    resume: Annotated[
        Path | None, typer.Option(help="go on with this run", autocompletion=complete_runs)
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="print the matrix only")] = False,
    profile_harness: ProfileHarness = False,
    quiet: Quiet = False,
    json: Json = False,
    **options: Any,
) -> None:
    """Run the matrix, print the comparison table, write the run folder."""
    from suite.cli.run import resume_matrix, run_matrix

    given, shape = given_options(RunConfig, options), shape_of(quiet, json)
    if resume:
        _refuse_beside_resume(context)
        raise typer.Exit(resume_matrix(resume, given, shape, profile_harness))
    raise typer.Exit(run_matrix(preset, config, given, out, shape, dry=dry_run,
                                profile=profile_harness))


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
    profile_harness: ProfileHarness = False,
    quiet: Quiet = False,
    json: Json = False,
) -> None:
    """Print and write the tables and the page of a stored run again; reads older versions, too."""
    from suite.cli.report import report as render

    shape = shape_of(quiet, json)
    raise typer.Exit(render(run, from_records, export_pytest_benchmark, shape, profile_harness))


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
    json: PrintJson = False,
    markdown: File = None,
    html: File = None,
) -> None:
    """Compare later runs with the first, with tests of significance; for people and for CI."""
    from suite.cli.compare import Outputs
    from suite.cli.compare import compare as compare_paths

    outputs = Outputs(json, markdown, html)
    raise typer.Exit(compare_paths(runs, split(metric), split(fail_on), each_alone, outputs))


@app.command()
@with_options(AbConfig, after="b")
def ab(
    a: Annotated[
        str, typer.Option("--a", help='side A: settings, then options: "NCCL_ALGO=Ring"')
    ],
    b: Annotated[
        str, typer.Option("--b", help='side B: "--variant fp16"; "" is the common case')
    ],
    fail_on: Annotated[
        list[str] | None, typer.Option(help='exit with 3 where B is worse: "step_time:5%"')
    ] = None,
    out: Out = Path("results"),
    json: PrintJson = False,
    **options: Any,
) -> None:
    """Compare two settings of one case in one run, with launches in turns and in pairs."""
    from suite.cli.ab import compare_sides

    given = given_options(AbConfig, options)
    raise typer.Exit(compare_sides((a, b), given, split(fail_on), out, json))


@app.command()
def history(
    folder: Annotated[Path, typer.Argument(help="folder of run folders")] = Path("results"),
    json: PrintJson = False,
    html: File = None,
) -> None:
    """Show each case over all runs of a folder, and say where its level changed."""
    from suite.cli.history import history as show

    raise typer.Exit(show(folder, json, html))


@app.command()
@with_options(LinkConfig, after="out")
def link(out: Out = Path("results"), **options: Any) -> None:
    """Measure the links between devices: alpha, latency, bandwidth, and the sizes they hold for."""
    from suite.cli.link import sweep_links

    raise typer.Exit(sweep_links(given_options(LinkConfig, options), out))


@app.command()
@with_options(ForesightConfig)
def predict(
    calibrate: Annotated[
        bool, typer.Option("--calibrate", help="measure this machine's constants first, a minute")
    ] = False,
    rehearse: Annotated[
        bool, typer.Option("--rehearse", help="train the first units of the model in every way, "
                           "some minutes; predictions of the whole model then start from there")
    ] = False,
    json: PrintJson = False,
    **options: Any,
) -> None:
    """Predict steps, T_comm, balance and memory of ways of splitting, without running them."""
    given = given_options(ForesightConfig, options)
    frameworks = [given["framework"]] if "framework" in given else []
    code = 0
    if calibrate:
        from suite.cli.calibrate import calibrate as measure

        code = measure(given, frameworks)
    if rehearse and not code:
        from suite.cli.rehearse import rehearse as train

        code = train(given, frameworks)
    if calibrate or rehearse:
        raise typer.Exit(code)
    from suite.cli.predict import predict_ways

    raise typer.Exit(predict_ways(given, json))


@app.command()
@with_options(ForesightConfig)
def advise(
    results: Annotated[
        Path, typer.Option(help="folder of run folders, whose rows count as evidence")
    ] = Path("results"),
    page: Annotated[
        Path | None, typer.Option(help="write the advice and its maps to this page",
                                  dir_okay=False)
    ] = None,
    json: PrintJson = False,
    **options: Any,
) -> None:
    """Say which way of splitting to choose, why, and what would change it."""
    from suite.cli.advise import advise_ways

    raise typer.Exit(advise_ways(given_options(ForesightConfig, options), results, page, json))


@app.command("list")
def list_() -> None:
    """List frameworks, strategies, workloads and presets, and say what is missing here."""
    from suite.cli.listing import list_everything

    list_everything()


@app.command()
def doctor(json: PrintJson = False) -> None:
    """Check machine, frameworks, transports and devices, and say how to mend what is missing."""
    from suite.cli.doctor import diagnose

    raise typer.Exit(diagnose(json))


@app.command()
def selftest(
    faults: PlantFaults = False, all_: WholeMatrix = False, framework: FaultColumns = None,
    fault: FaultKinds = None, phase: FaultPhases = None, soak: SoakMinutes = 0.0,
    seed: SoakSeed = 0, json: PrintJson = False,
) -> None:
    """Plant faults here and see that nothing hangs, survives or is lost."""
    from suite.cli.selftest import Wanted, plant_faults, soak_runs

    wanted = Wanted(split(framework), split(fault), split(phase), all_)
    raise typer.Exit(soak_runs(wanted, soak, seed) if soak else plant_faults(faults, wanted, json))


@app.callback()
def common(
    debug: Annotated[bool, typer.Option(help="show tracebacks of errors")] = False,
) -> None:
    """Options before the command."""
    Settings.debug = debug


def main() -> None:
    """Runs the command line and exits with its code.

    The codes are 0 if every case is ok or unsupported by design, 1 if a case failed, 2 for wrong
    usage, 3 for a regression, 4 for a failed parity check, 130 after an interruption, and 141 if
    the reader of the output has closed it.
    """
    streams.open_closed()
    streams.bend_output()
    # A batch system ends a job with SIGTERM, and a closing terminal sends SIGHUP. Both are handled
    # like Ctrl-C, so that the run folder is finished and the workers are stopped.
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, interrupt)
    try:
        check_folder()
        app(prog_name=program_name())
    except UsageError as error:
        _end(f"error: {error}", 2)
    except KeyboardInterrupt:
        _end("interrupted", 130)
    except Exception as error:
        _end(f"error: {type(error).__name__}: {error} (--debug shows where)", 1)


def _end(message: str, code: int) -> None:
    if Settings.debug:
        raise  # noqa: PLE0704 - the exception being handled by the caller
    print(message, file=sys.stderr)
    sys.exit(code)
