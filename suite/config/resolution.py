"""Merges command line, environment, file, preset and defaults; the earlier in this list wins."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

from suite.config.model import RunConfig
from suite.config.validation import from_environment, validate
from suite.contract.case import RECOMPUTES
from suite.contract.errors import UsageError
from suite.contract.splits.strategies import AUTO

# The most launches of a case if a precision or a budget decides how many are needed.
REPEATS_OF_A_RULE = 30
# What --strategy auto varies besides strategies, variants and meshes, unless it is asked for.
EVERY_WAY: dict[str, Any] = {"accumulate": [1, 2, 4], "recompute": list(RECOMPUTES),
                             "leader_repeats": 6}
# A configuration is a page of text; a file that is much longer was named by mistake.
LONGEST_FILE_BYTES = 1 << 20


def resolve(preset: str, file: Path | None, options: dict[str, Any]) -> RunConfig:
    """Returns the configuration of a run.

    Args:
        preset: The name of a preset, which everything else overrides.
        file: A TOML file of options, if any.
        options: What the command line gave; None and empty values count as not given.

    Raises:
        UsageError: For the first option that is wrong.
    """
    if preset not in PRESETS:
        raise UsageError("--preset", preset, f"one of {', '.join(PRESETS)}", "pick one of these")
    asked = read_toml(file) | from_environment(RunConfig) | given(options)
    merged = PRESETS[preset] | (EVERY_WAY if AUTO in asked.get("strategy", ()) else {}) | asked
    # A size belongs to one workload, so a preset's size is dropped with the preset's workload.
    of_all = merged.get("size") == "tiny"
    if merged.get("workload") != PRESETS[preset]["workload"] and not (asked.get("size") or of_all):
        merged["size"] = ""
    if {"precision", "budget"} & merged.keys() and "repeats" not in asked:
        merged["repeats"] = REPEATS_OF_A_RULE
    if "repeats" in asked and "leader_repeats" not in asked:
        merged.pop("leader_repeats", None)  # so many launches and no more were asked for
    if "probes" in asked and "probe_precision" not in asked:
        merged.pop("probe_precision", None)  # who asks for probes wants T_comm, and not to be fast
    config = validate(RunConfig, merged)
    if config.memory_limit and not config.find_max_batch:
        expected = "--find-max-batch beside it, the search that it limits"
        fix = "add --find-max-batch, or drop it"
        raise UsageError("--memory-limit", config.memory_limit, expected, fix)
    if config.find_max_batch and config.launcher != "local":
        raise UsageError("--find-max-batch", config.launcher, "--launcher local: it searches on "
                         "one host", "search without --launcher, then train with that --batch")
    return config


def given(options: dict[str, Any]) -> dict[str, Any]:
    """Drops the options that a command line did not name."""
    return {name: value for name, value in options.items() if value not in (None, [], {})}


def read_toml(file: Path | None) -> dict[str, Any]:
    """Returns the tables of a TOML file; nothing if there is no file.

    Raises:
        UsageError: If the file cannot be read, is not UTF-8, is not TOML, or is far too long.
    """
    if file is None:
        return {}
    try:
        if file.stat().st_size > LONGEST_FILE_BYTES:
            raise UsageError("--config", str(file), "a file of options, at most 1 MiB",
                             "name the right file")
        return tomllib.loads(file.read_text(encoding="utf-8"))
    except OSError as error:
        raise UsageError("--config", str(file), "a readable file", str(error)) from None
    except UnicodeDecodeError as error:
        raise UsageError("--config", str(file), "UTF-8 text", f"save it so ({error})") from None
    except ValueError as error:
        raise UsageError("--config", str(file), "valid TOML", str(error)) from None


# The presets, from small to large; each is a file of the same form as a user's configuration.
PRESETS: dict[str, dict[str, Any]] = {
    name: read_toml(Path(__file__).parent / "presets" / f"{name}.toml")
    for name in ("smoke", "quick", "standard", "coverage", "meshes")
}
