"""Entry point of ``python -m suite``."""

import os
import sys


def _foreign_files() -> tuple[list[str], list[str]]:
    """Files that hide a module of Python, and files that hide an installed package.

    Both lie in the folder that ``python -m`` starts in or in one of ``PYTHONPATH``, which Python
    searches before everything else. Nothing but built-in modules is used here: any other may be
    the one that is hidden.
    """
    own = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))  # noqa: PTH100, PTH120
    packages = {name for place in sys.path if place.endswith("-packages") and os.path.isdir(place)  # noqa: PTH112
                for name in os.listdir(place)}  # noqa: PTH208
    hiding, suspect = [], []
    for folder in dict.fromkeys([sys.path[0], *os.environ.get("PYTHONPATH", "").split(os.pathsep)]):
        if not os.path.isdir(folder) or os.path.abspath(folder) == own:  # noqa: PTH100, PTH112
            continue
        for file in sorted(os.listdir(folder)):  # noqa: PTH208
            name, extension = os.path.splitext(file)  # noqa: PTH122
            if extension == ".py" and name in sys.stdlib_module_names:
                hiding.append(os.path.join(folder, file))  # noqa: PTH118
            elif extension == ".py" and name in packages:
                suspect.append(os.path.join(folder, file))  # noqa: PTH118
    return hiding, suspect


def _refuse_foreign_files() -> None:
    """Says what is hidden, in place of whatever an import of it would say."""
    hiding, suspect = _foreign_files()
    if hiding:
        print(f"error: PYTHONPATH: got {hiding[0]!r}, expected no file of the name of a module of "
              "Python, which it hides. Fix: rename it, or start from another folder without it in "
              "PYTHONPATH", file=sys.stderr)
        raise SystemExit(2)
    for file in suspect:
        print(f"warning: {file} hides the installed package of its name", file=sys.stderr)


if __name__ == "__main__":
    _refuse_foreign_files()
    from suite.cli.app import main

    main()
