"""Looks the locked distributions up among known vulnerabilities: ``make audit``.

pip-audit ends well where the advisories cannot be reached, since it then skips every distribution.
Here a distribution that was not looked up is told, and is no success.

Exit codes: 0 all looked up, none vulnerable; 1 a vulnerability is known; 2 not all were looked up.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
LOCK = ROOT / "requirements.lock"
LONGEST_S = 600.0


def main() -> None:
    """Entry point; the arguments are the program ``pip-audit`` and options for it."""
    command = [sys.argv[1], "--requirement", str(LOCK), "--no-deps", "--disable-pip",
               "--progress-spinner", "off", "--format", "json", *sys.argv[2:]]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=LONGEST_S)
    try:
        found = json.loads(done.stdout)["dependencies"]
    except (ValueError, KeyError, TypeError):
        last = (done.stderr.strip().splitlines() or [f"it ended with code {done.returncode}"])[-1]
        print(f"Nothing was audited: the advisories could not be read ({last})")
        sys.exit(2)
    lines, code = verdict(found)
    print(*lines, sep="\n")
    sys.exit(code)


def verdict(found: list[dict[str, Any]]) -> tuple[list[str], int]:
    """What to print and the exit code.

    Args:
        found: pip-audit's ``dependencies``: name, and ``vulns`` or a ``skip_reason``.
    """
    skipped = [one for one in found if "skip_reason" in one]
    looked_up = len(found) - len(skipped)
    lines = [f"{one['name']} {one['version']}: {vulnerability['id']}, mended in "
             f"{', '.join(vulnerability['fix_versions']) or 'no release yet'}"
             for one in found for vulnerability in one.get("vulns", ())]
    vulnerable = bool(lines)
    lines.append(f"{looked_up} of {len(found)} distributions looked up, {len(lines)} known "
                 "vulnerabilities")
    if skipped or not found:
        why = skipped[0]["skip_reason"] if skipped else "the lock names none"
        lines.append("NOT AUDITED: the advisories do not answer for "
                     f"{len(skipped)} of them, so nothing is known of these ({why}). "
                     "Run it where PyPI's JSON API or OSV (make audit SERVICE=osv) can be reached.")
    return lines, 1 if vulnerable else 2 if skipped or not found else 0


if __name__ == "__main__":
    main()
