"""Installs packages with uv, configured as pip is here; with pip where there is no uv.

    python scripts/install.py ARGUMENT...           the arguments of ``pip install``

uv takes a tenth of pip's time, but reads none of pip's configuration. Which index, mirror, proxy or
certificate a machine needs is written down for pip, and an index that offers CPU builds of torch
decides between two hundred megabytes and gigabytes of CUDA. So what ``pip config list`` tells
(configuration files and ``PIP_*`` variables) is handed to uv as variables of its own. Those that
the user has set for uv stay as they are. ``INSTALLER=pip`` in the environment chooses pip.
"""

from __future__ import annotations

import ast
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from importlib import metadata
from importlib.util import find_spec
from pathlib import Path

# Sections of pip's configuration in the order in which pip lets them override each other.
SECTIONS = ("global", "install", ":env:")
# Setting of pip -> variable of uv, and what uv puts between several values.
LISTS = {
    "extra-index-url": ("UV_INDEX", " "),
    "trusted-host": ("UV_INSECURE_HOST", " "),
    "constraint": ("UV_CONSTRAINT", " "),
    "find-links": ("UV_FIND_LINKS", ","),
}
TEXTS = {
    "index-url": ("UV_DEFAULT_INDEX",),
    "cert": ("SSL_CERT_FILE",),
    "client-cert": ("SSL_CLIENT_CERT",),
    "proxy": ("HTTP_PROXY", "HTTPS_PROXY"),
    "timeout": ("UV_HTTP_TIMEOUT",),
    "default-timeout": ("UV_HTTP_TIMEOUT",),
    "retries": ("UV_HTTP_RETRIES",),
}
ON = ("1", "yes", "true", "on")
# From this release on pip trusts the certificates of the system.
SYSTEM_CERTIFICATES = (24, 2)
HASHES, UV = "--require-hashes", "uv"


def main() -> int:
    """Entry point; returns the installer's exit code."""
    command, environment = installing(sys.executable, sys.argv[1:])
    code = subprocess.run(command, env=environment).returncode
    if code and UV in command:
        print("Fix: mend what uv says above, or let pip install: make setup INSTALLER=pip",
              file=sys.stderr)
    return code


def installing(python: str, arguments: Sequence[str]) -> tuple[list[str], dict[str, str]]:
    """Returns the command that installs into an environment, and its variables.

    Args:
        python: The environment's interpreter. Only where there is no uv here it needs pip.
        arguments: What ``pip install`` gets.
    """
    if os.environ.get("INSTALLER") == "pip" or find_spec(UV) is None:
        return [python, "-m", "pip", "install", *arguments], dict(os.environ)
    settings = settings_of_pip()
    offline = settings.get("no-index", "").lower() in ON  # which has no variable
    command = [sys.executable, "-m", UV, "pip", "install", "--python", python,
               *(["--no-index"] if offline else []), *arguments]
    return command, os.environ | for_uv(settings, os.environ, HASHES in arguments)


def settings_of_pip() -> dict[str, str]:
    """Returns pip's settings for ``install``, from its files and variables, by their long names."""
    command = [sys.executable, "-m", "pip", "config", "list"]
    said = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    return merged(said)


def merged(listed: str) -> dict[str, str]:
    """Merges what ``pip config list`` prints.

    Args:
        listed: Lines such as ``global.index-url='https://host/simple'``.

    Returns:
        Setting to value; of several sections that name it the one counts that pip follows.
    """
    found: dict[str, dict[str, str]] = {section: {} for section in SECTIONS}
    for line in listed.splitlines():
        place, _, value = line.partition("=")
        section, _, name = place.rpartition(".")
        if section in found:
            found[section][name] = str(ast.literal_eval(value))
    return {name: value for section in SECTIONS for name, value in found[section].items()}


def for_uv(
    settings: Mapping[str, str], environment: Mapping[str, str], hashed: bool = False
) -> dict[str, str]:
    """Returns the variables that make uv look where pip would look.

    Args:
        settings: pip's settings.
        environment: Variables as they are; what the user has set for uv stays.
        hashed: Whether each file is named by its hash. Constraints are then left out, since uv
            wants hashes of them too, and the hashes say more.
    """
    found = {}
    for name, value in settings.items():
        for variable in TEXTS.get(name, ()):
            found[variable] = value
        if name in LISTS and not (hashed and name == "constraint"):
            variable, between = LISTS[name]
            found[variable] = between.join(str(Path(one).expanduser()) if one[0] == "~" else one
                                           for one in value.split())
        if name == "no-cache-dir" and value.lower() in ON:
            found["UV_NO_CACHE"] = "1"
    if "UV_INDEX" in found:  # pip takes the best file of all indexes, not of the first that has any
        found["UV_INDEX_STRATEGY"] = "unsafe-best-match"
    if "SSL_CERT_FILE" not in found and _pip_trusts_system():
        found["UV_SYSTEM_CERTS"] = "1"
    return {name: value for name, value in found.items()
            if not (name.startswith("UV_") and name in environment)}


def _pip_trusts_system() -> bool:
    numbers = metadata.version("pip").split(".")[:2]
    return tuple(map(int, numbers)) >= SYSTEM_CERTIFICATES


if __name__ == "__main__":
    sys.exit(main())
