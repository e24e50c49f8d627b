"""The two sides of ``ab``: from options and settings to one case each, of the same work."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, fields
from typing import Any

from suite.config.matrix import build_matrix
from suite.config.model import AbConfig, MeasureConfig, RunConfig, SideConfig
from suite.config.resolution import REPEATS_OF_A_RULE
from suite.config.validation import from_environment, validate
from suite.contract.case import Case
from suite.contract.errors import UsageError
from suite.contract.threads import SETTING

# Variables that the harness gives to every worker itself, and the prefix of its own ones.
OWN, OWN_PREFIX = ("PYTHONPATH", "PYTHONUNBUFFERED", "TMPDIR"), "SUITE_"
LISTED_AT_MOST = 8


@dataclass(frozen=True)
class SideText:
    """What a user wrote for a side: environment settings, and options that describe the case."""

    settings: Mapping[str, str] = field(default_factory=dict)
    options: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class SidePlan:
    """One side: its name, its one case, how it is measured, and its workers' settings."""

    name: str
    case: Case
    config: RunConfig
    settings: Mapping[str, str]

    def described(self) -> dict[str, Any]:
        """The values of the options that describe a case."""
        return {one.name: getattr(self.config, one.name) for one in fields(SideConfig)
                if hasattr(self.config, one.name)} | {"engine": self.case.engine}

    def same_as(self, other: SidePlan) -> bool:
        """Whether nothing at all tells the two apart."""
        mine, theirs = (asdict(side) | {"name": ""} for side in (self, other))
        return mine == theirs


def resolve_sides(
    options: Mapping[str, Any], a: SideText, b: SideText, gpus: int
) -> tuple[AbConfig, SidePlan, SidePlan]:
    """The common configuration, and the sides that override it.

    Args:
        options: Of the command line, for both sides.
        a: What side A has beside them.
        b: What side B has beside them.
        gpus: How many GPUs can be seen.

    Raises:
        UsageError: An option is wrong, a side is not one case, or the sides do not do the same
            work.
    """
    asked = from_environment(AbConfig) | dict(options)
    if {"precision", "budget"} & asked.keys():
        asked.setdefault("repeats", REPEATS_OF_A_RULE)
    common = validate(AbConfig, asked)
    plans = [_side(name, asked, text, gpus) for name, text in (("a", a), ("b", b))]
    _check_same_work(plans[0].case, plans[1].case)
    return common, plans[0], plans[1]


def _side(name: str, asked: Mapping[str, Any], text: SideText, gpus: int) -> SidePlan:
    with _named(name):
        _check_settings(text.settings)
        tables = {"python": {**asked.get("python", {}), **text.options.get("python", {})}}
        config = validate(AbConfig, {**asked, **text.options, **tables})
        case = _only_case(config, gpus)
    shared = {one.name: getattr(config, one.name) for one in fields(MeasureConfig)}
    return SidePlan(name, case, RunConfig(**shared, link=False), text.settings)


@contextmanager
def _named(side: str) -> Iterator[None]:
    """Says of which side a mistake is."""
    try:
        yield
    except UsageError as error:
        error.args = (f"side {side.upper()}: {error}",)
        raise


def _check_settings(settings: Mapping[str, str]) -> None:
    for name, value in settings.items():
        if name in OWN or (name.startswith(OWN_PREFIX) and name != SETTING):
            expected = f"a variable that is not the suite's own ({', '.join(OWN)}, {OWN_PREFIX}*)"
            raise UsageError("setting", f"{name}={value}", expected, "drop it")


def _only_case(config: AbConfig, gpus: int) -> Case:
    cases = build_matrix(config, gpus)
    found = [case for case in cases if config.engine in ("", case.engine)]
    if len(found) == 1:
        return found[0]
    if not found:
        engines = ", ".join(dict.fromkeys(case.engine for case in cases))
        raise UsageError("--engine", config.engine, f"one of {engines}", "pick one of these")
    ids = [case.case_id for case in found]
    more = len(ids) - LISTED_AT_MOST
    shown = ", ".join(ids[:LISTED_AT_MOST]) + (f" and {more} more" if more > 0 else "")
    raise UsageError("cases", f"{len(ids)} ({shown})", "exactly one", f"narrow {_axes(found)}")


def _axes(cases: list[Case]) -> str:
    """The options by which these cases differ."""
    names = ("framework", "engine", "strategy", "variant", "mesh", "workload", "devices", "dtype",
             "mode", "accumulate", "recompute", "balance")
    several = [name for name in names if len({getattr(case, name) for case in cases}) > 1]
    if "framework" in several and len({(case.framework, case.engine) for case in cases}) == len(
        {case.framework for case in cases}
    ):
        several.remove("engine")
    return ", ".join(f"--{name}" for name in several)


def _check_same_work(a: Case, b: Case) -> None:
    """Raises :class:`UsageError` where the sides would not compute the same thing."""
    for name, one, other in (
        ("workload", a.workload, b.workload), ("size", a.size, b.size), ("data", a.data, b.data),
        ("batch", a.spec.global_batch, b.spec.global_batch), ("seed", a.seed, b.seed),
    ):
        if one != other:
            fix = f"give --{name} for both sides, not in --a or --b"
            raise UsageError(f"--{name}", f"{one} in A, {other} in B", "the same work in both", fix)
