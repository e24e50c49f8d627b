"""Turns the options of a configuration model into parameters of a command, and back."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from suite.cli.completion import complete_runs, completer
from suite.config.option import Setting, scalar_of, settings_of
from suite.contract.errors import UsageError

Shape = Literal["table", "quiet", "json"]
Run = Annotated[Path, typer.Argument(help="run folder", autocompletion=complete_runs)]
File = Annotated[Path | None, typer.Option(dir_okay=False)]
Quiet = Annotated[bool, typer.Option("--quiet", help="only the answer and the path")]
Json = Annotated[bool, typer.Option("--json", help="rows as JSON on standard output")]
PrintJson = Annotated[bool, typer.Option("--json", help="print JSON")]
ProfileHarness = Annotated[
    bool, typer.Option("--profile-harness", help="print where launches and harness spend time")
]
Command = Callable[..., None]
# Of `selftest`.
PlantFaults = Annotated[
    bool, typer.Option("--faults", help="plant faults and show what becomes of each")
]
WholeMatrix = Annotated[
    bool, typer.Option("--all", help="every fault in every phase, about an hour")
]
FaultColumns = Annotated[
    list[str] | None,
    typer.Option("--framework", autocompletion=completer("framework"),
                 help="only in ranks of these; harness: in the command itself"),
]
FaultKinds = Annotated[
    list[str] | None,
    typer.Option("--fault", help="only these, such as kill, hang, memory or interrupt, full-disk"),
]
FaultPhases = Annotated[
    list[str] | None,
    typer.Option("--phase", help="only in these: import, rendezvous, warm-up, measured, "
                                 "collective, teardown, record"),
]
SoakMinutes = Annotated[
    float, typer.Option("--soak", min=0.0, help="minutes of the smoke preset with random faults")
]
SoakSeed = Annotated[int, typer.Option("--seed", min=0, help="of the soak's cases and faults")]


def _folder(text: str | Path) -> Path:
    """Refuses an empty name, which comes from an unset variable and would mean the working
    directory.
    """
    if not str(text).strip():
        raise UsageError("--out", text, "the name of a folder", "leave it out for results/")
    return Path(text)


Out = Annotated[
    Path,
    typer.Option(help="folder of run folders", envvar="SUITE_OUT", show_envvar=False,
                 parser=_folder, metavar="<path>"),
]


def shape_of(quiet: bool, json: bool) -> Shape:
    """Returns the shape in which ``--quiet`` or ``--json`` asks for rows to be printed."""
    return "json" if json else "quiet" if quiet else "table"


def with_options(model: type[Any], after: str = "") -> Callable[[Command], Command]:
    """Returns a decorator that gives a command a parameter for each option of a model.

    The command takes the parameters as ``**options`` and passes them to :func:`given_options`.

    Args:
        model: A configuration model of :mod:`suite.config.model`.
        after: The name of the parameter behind which the new ones are placed.
    """

    def decorate(command: Command) -> Command:
        own = inspect.signature(command, eval_str=True)
        fixed = [p for p in own.parameters.values() if p.kind is not p.VAR_KEYWORD]
        place = [parameter.name for parameter in fixed].index(after) + 1 if after else 0
        added = [_parameter(setting) for setting in settings_of(model).values()]
        parameters = [p.replace(kind=p.KEYWORD_ONLY) for p in fixed]
        parameters[place:place] = added
        command.__signature__ = own.replace(parameters=parameters)  # type: ignore[attr-defined]
        command.__annotations__ = {p.name: p.annotation for p in parameters}
        return command

    return decorate


def _parameter(setting: Setting) -> inspect.Parameter:
    kind, names = _type_of(setting), [setting.flag]
    if kind is bool and setting.default:
        # Such as --link and --no-link: the value is None if the user gave neither.
        kind, names = bool | None, []
    completion = completer(setting.option.names) if setting.option.names else None
    option = typer.Option(*names, help=described(setting), autocompletion=completion,
                          show_default=False)
    default = False if kind is bool else None
    return inspect.Parameter(setting.name, inspect.Parameter.KEYWORD_ONLY, default=default,
                             annotation=Annotated[kind, option])


def described(setting: Setting) -> str:
    """Returns the help text of an option, with its default if that is a plain number or name."""
    default = setting.field.default
    plain = isinstance(default, str | int | float) and not isinstance(default, bool) and default
    return f"{setting.option.help} [default: {default}]" if plain else setting.option.help


def _type_of(setting: Setting) -> Any:
    """Returns the type that the command line reads: text if the option has a parser of its own."""
    if setting.is_list or setting.is_table:
        return list[str] | None
    if setting.option.parse:
        return str | None
    scalar: Any = scalar_of(setting.kind)
    return scalar if scalar is bool else scalar | None


def given_options(model: type[Any], values: Mapping[str, Any]) -> dict[str, Any]:
    """Returns the options that the command line named, with comma-separated lists taken apart.

    Args:
        model: The configuration model that the options belong to.
        values: What the command line parser passed for each option.

    Raises:
        UsageError: If a list is given but empty, or a ``NAME=VALUE`` pair lacks its value.
    """
    named = {}
    for name, setting in settings_of(model).items():
        value = values[name]
        if setting.is_table:
            value = _pairs(setting.flag, value)
        elif setting.is_list and setting.option.commas:
            value = split(value)
        elif value is False and not setting.default:
            value = None  # a flag that was not given
        if value not in (None, [], {}):
            named[name] = value
    return named


def split(values: list[str] | None) -> list[str]:
    """Takes comma-separated lists of names apart.

    Raises:
        UsageError: If a list is given but empty, which usually comes from an unset variable.
    """
    parts = [part.strip() for value in values or [] for part in value.split(",") if part.strip()]
    if values and not parts:
        fix = "name one or more, or leave the option out"
        raise UsageError("a list option", ",".join(values), "comma-separated names", fix)
    return parts


def _pairs(flag: str, values: list[str] | None) -> dict[str, str]:
    pairs = {}
    for value in values or []:
        name, equals, path = value.partition("=")
        if not equals or not Path(path).exists():
            fix = f"for example {flag} horovod=/opt/hvd/bin/python"
            raise UsageError(flag, value, "FRAMEWORK=existing interpreter", fix)
        pairs[name] = path
    return pairs
