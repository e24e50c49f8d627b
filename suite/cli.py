"""``python -m suite``: options in, exit code out. Heavy imports wait until a command needs them."""

from __future__ import annotations

import signal
import sys
from pathlib import Path
from types import FrameType
from typing import Annotated, Any

import typer

from suite.spec.errors import UsageError

app = typer.Typer(
    no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False,
    help="Which framework, and which way of splitting training, is fastest on these devices?",
)
Texts = Annotated[list[str] | None, typer.Option(help="comma-separated or repeated")]


@app.command()
def run(
    preset: str = "quick",
    config: Annotated[Path | None, typer.Option(help="TOML file of the same options")] = None,
    framework: Texts = None,
    strategy: Texts = None,
    variant: Annotated[str | None, typer.Option(help="gpipe, 1f1b or naive")] = None,
    workload: Texts = None,
    size: str | None = None,
    data: Annotated[str | None, typer.Option(help="real, synthetic or FILE.npz")] = None,
    devices: int | None = None,
    device: Annotated[str | None, typer.Option(help="cpu, cuda or auto")] = None,
    dtype: str | None = None,
    mode: Annotated[str | None, typer.Option(help="eager or compiled")] = None,
    steps: int | None = None,
    repeats: int | None = None,
    seed: int | None = None,
    timeout: Annotated[float | None, typer.Option(help="seconds a launch may take")] = None,
    python: Annotated[list[str] | None, typer.Option(help="FRAMEWORK=INTERPRETER")] = None,
    out: Path = Path("results"),
) -> None:
    """Run the matrix, print the comparison table, write the run folder."""
    from suite.commands import run_matrix

    options: dict[str, Any] = {
        "framework": _split(framework), "strategy": _split(strategy), "variant": variant,
        "workload": _split(workload), "size": size, "data": data, "devices": devices,
        "device": device, "dtype": dtype, "mode": mode, "steps": steps, "repeats": repeats,
        "seed": seed, "timeout": timeout, "python": _pairs(python),
    }
    raise typer.Exit(run_matrix(preset, config, options, out))


@app.command("list")
def list_() -> None:
    """Frameworks, strategies, workloads and presets, and what is missing here."""
    from suite.commands import list_everything

    list_everything()


@app.command()
def doctor(json: bool = False) -> None:
    """Check machine, frameworks and devices."""
    from suite.commands import diagnose

    diagnose(json)


def _split(values: list[str] | None) -> list[str]:
    return [part.strip() for value in values or [] for part in value.split(",") if part.strip()]


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
    """Exit codes: 0, 1, 2, 4 as documented, 130 when interrupted."""
    # A batch system ends a job with SIGTERM: leave as on Ctrl-C, with the workers ended.
    signal.signal(signal.SIGTERM, _interrupt)
    try:
        app()
    except UsageError as error:
        _end(f"error: {error}", 2)
    except KeyboardInterrupt:
        _end("interrupted", 130)
    except Exception as error:
        _end(f"error: {type(error).__name__}: {error} (--debug shows where)", 1)


def _interrupt(_number: int, _frame: FrameType | None) -> None:
    raise KeyboardInterrupt


def _end(message: str, code: int) -> None:
    if Settings.debug:
        raise  # noqa: PLE0704 - the exception being handled by the caller
    print(message, file=sys.stderr)
    sys.exit(code)
