"""Turns what the user wrote for the two sides of ``ab`` into two cases that do the same work."""

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

# The variables that the harness sets for every worker, and the prefix of the suite's own variables.
OWN, OWN_PREFIX = ("PYTHONPATH", "PYTHONUNBUFFERED", "TMPDIR"), "SUITE_"
LISTED_AT_MOST = 8


@dataclass(frozen=True)
class SideText:
    """What a user wrote for a side: environment settings, and options that describe its case."""

    settings: Mapping[str, str] = field(default_factory=dict)
    options: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class SidePlan:
    """One side of a comparison.

    Attributes:
        Name: ``a`` or ``b``.
        case: The only case of the side.
        config: How the case is measured.
        settings: Environment variables of its workers.
    """

    name: str
    case: Case
    config: RunConfig
    settings: Mapping[str, str]

    def described(self) -> dict[str, Any]:
        """Returns the values of the options that describe the case."""
        return {option.name: getattr(self.config, option.name) for option in fields(SideConfig)
                if hasattr(self.config, option.name)} | {"engine": self.case.engine}

    def same_as(self, other: SidePlan) -> bool:
        """Returns whether the two sides are the same in everything but their name."""
        mine, theirs = (asdict(side) | {"name": ""} for side in (self, other))
        return mine == theirs


def resolve_sides(
    options: Mapping[str, Any], a: SideText, b: SideText, gpus: int
) -> tuple[AbConfig, SidePlan, SidePlan]:
    """Returns the options that both sides share, and the two sides.

    Args:
        options: The options of the command line, which hold for both sides.
        a: What the user wrote for side A on top of them.
        b: What the user wrote for side B on top of them.
        gpus: How many GPUs this process may use.

    Raises:
        UsageError: If an option is wrong, a side is not exactly one case, or the sides do not do
            the same work.
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
    shared = {option.name: getattr(config, option.name) for option in fields(MeasureConfig)}
    return SidePlan(name, case, RunConfig(**shared, link=False), text.settings)


@contextmanager
def _named(side: str) -> Iterator[None]:
    """Adds to an error which side it is about."""
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
    chosen = [case for case in cases if config.engine in ("", case.engine)]
    if len(chosen) == 1:
        return chosen[0]
    if not chosen:
        engines = ", ".join(dict.fromkeys(case.engine for case in cases))
        raise UsageError("--engine", config.engine, f"one of {engines}", "pick one of these")
    ids = [case.case_id for case in chosen]
    more = len(ids) - LISTED_AT_MOST
    shown = ", ".join(ids[:LISTED_AT_MOST]) + (f" and {more} more" if more > 0 else "")
    raise UsageError("cases", f"{len(ids)} ({shown})", "exactly one", f"narrow {_axes(chosen)}")


def _axes(cases: list[Case]) -> str:
    """Names the options in which these cases differ."""
    names = ("framework", "engine", "strategy", "variant", "mesh", "workload", "devices", "dtype",
             "mode", "accumulate", "recompute", "balance", "padded", "scaling",
             "transport", "cut")
    several = [name for name in names if len({getattr(case, name) for case in cases}) > 1]
    if "framework" in several and len({(case.framework, case.engine) for case in cases}) == len(
        {case.framework for case in cases}
    ):
        several.remove("engine")
    return ", ".join(f"--{name}" for name in several)


def _check_same_work(a: Case, b: Case) -> None:
    """Raises :class:`UsageError` if the two sides would not compute the same thing."""
    for name, of_a, of_b in (
        ("workload", a.workload, b.workload), ("size", a.size, b.size), ("data", a.data, b.data),
        ("batch", a.spec.global_batch, b.spec.global_batch), ("seed", a.seed, b.seed),
    ):
        if of_a != of_b:
            fix = f"give --{name} for both sides, not in --a or --b"
            raise UsageError(f"--{name}", f"{of_a} in A, {of_b} in B", "the same work in both", fix)
