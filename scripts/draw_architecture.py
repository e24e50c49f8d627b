"""Draws docs/architecture.svg from the imports: ``python -m scripts.draw_architecture``.

Rooms are the folders of suite/ and the adapters, in the order in which they may import each other:
every arrow has to point downwards. A test holds the picture equal to the code.
"""

from __future__ import annotations

import ast
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from html import escape
from pathlib import Path
from textwrap import wrap

ROOT = Path(__file__).resolve().parent.parent
PICTURE = ROOT / "docs" / "architecture.svg"
# The rooms from top to bottom; each imports only rooms below it.
ORDER = (
    "cli", "measure", "runfolder", "report", "foresight", "analysis", "launch", "ranks",
    "config", "machine", "adapters/horovod", "adapters/tensorflow", "adapters/pytorch",
    "contract",
)
ROW, BOX, LEFT, TOP, RIGHT = 92, 590, 24, 24, 230
STYLE = """
text { font: 13px system-ui, sans-serif; fill: #1f2430 } .name { font-weight: 700; font-size: 16px }
.files { font-size: 11.5px; fill: #5a6372 } rect { fill: #f6f8fb; stroke: #b9c3d3; rx: 6 }
.adapter rect { fill: #fdf6ec; stroke: #dcc394 } path { fill: none; stroke: #5b7aa8; opacity: .75 }
.up { stroke: #c62828 } .count { font-size: 11px; fill: #44506a }
"""


@dataclass(frozen=True)
class Room:
    """A folder of the code: its purpose in words, and the names of its files and subfolders."""

    name: str
    purpose: str
    files: tuple[str, ...]


def folder_of(room: str) -> Path:
    """Returns the folder of a room of ``ORDER``."""
    return ROOT / (room if room.startswith("adapters/") else f"suite/{room}")


def rooms() -> list[Room]:
    """Returns every room of ``ORDER``, described by the docstring of its package."""
    described = []
    for name in ORDER:
        folder = folder_of(name)
        purpose = ast.get_docstring(ast.parse((folder / "__init__.py").read_text())) or ""
        files = sorted(path.stem for path in folder.glob("*.py") if path.stem != "__init__")
        folders = sorted(path.name + "/" for path in folder.iterdir() if _holds_code(path))
        sentence = purpose.splitlines()[0].replace("`", "").partition(". ")[0].rstrip(".")
        described.append(Room(name, sentence, (*files, *folders)))
    return described


def _holds_code(path: Path) -> bool:
    return path.is_dir() and any(path.rglob("*.py"))


def arrows() -> Counter[tuple[str, str]]:
    """Counts, for each importing and imported room, the files that import across that border.

    Imports of the contract are left out: every room has them, and they would hide the others.
    """
    counted: Counter[tuple[str, str]] = Counter()
    for room in ORDER:
        for path in folder_of(room).rglob("*.py"):
            targets = {_room_of(module) for module in _imported(path)} - {"", room}
            counted.update((room, target) for target in targets if target != "contract")
    return counted


def _imported(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def _room_of(module: str) -> str:
    top, _, rest = module.partition(".")
    inner = rest.split(".")[0]
    room = {"suite": inner, "adapters": f"adapters/{inner}"}.get(top, "")
    return room if room in ORDER else ""


def draw() -> str:
    """Returns the picture as SVG text: boxes from top to bottom, with the arrows as arcs beside
    them.
    """
    height = TOP * 2 + ROW * len(ORDER)
    width = LEFT + BOX + RIGHT
    boxes = [_box(place, room) for place, room in enumerate(rooms())]
    arcs = [_arc(pair, count) for pair, count in sorted(arrows().items())]
    return "\n".join([
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" '
        f'width="{width}" height="{height}">',
        f"<style>{STYLE}</style>",
        '<defs><marker id="tip" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="9" '
        'markerHeight="9" markerUnits="userSpaceOnUse" orient="auto">'
        '<path d="M0 0 8 4 0 8z" style="fill:#5b7aa8;opacity:1;stroke:none"/></marker></defs>',
        *boxes, *arcs,
        f'<text class="files" x="{LEFT}" y="{height - 8}">Every room imports the contract, which '
        "imports nothing of the project; those arrows are left out.</text>",
        "</svg>", "",
    ])


def _box(place: int, room: Room) -> str:
    y = TOP + ROW * place
    kind = "adapter" if room.name.startswith("adapters/") else "room"
    files = wrap(", ".join(room.files), 92)[:2]
    lines = [
        f'<text class="name" x="{LEFT + 14}" y="{y + 22}">{escape(room.name)}</text>',
        f'<text x="{LEFT + 14}" y="{y + 41}">{escape(room.purpose)}</text>',
        *(f'<text class="files" x="{LEFT + 14}" y="{y + 57 + 14 * row}">{escape(text)}</text>'
          for row, text in enumerate(files)),
    ]
    frame = f'<rect x="{LEFT}" y="{y}" width="{BOX}" height="{ROW - 14}" rx="6"/>'
    return "\n".join([f'<g class="{kind}">', frame, *lines, "</g>"])


def _arc(pair: tuple[str, str], count: int) -> str:
    start, end = (ORDER.index(room) for room in pair)
    distance = abs(end - start)
    x, bulge = LEFT + BOX, 18 + 22 * distance
    # Arrows leave in the lower half of a box and arrive in the upper half, so that none coincide.
    y1 = TOP + ROW * start + 46 + 2 * distance
    y2 = TOP + ROW * end + 8 + 2.2 * (len(ORDER) - start)
    style, thickness = "up" if end < start else "down", min(4, 0.8 + count / 8)
    return (
        f'<path class="{style}" marker-end="url(#tip)" stroke-width="{thickness:.1f}" '
        f'd="M{x} {y1:.0f} C{x + bulge} {y1:.0f} {x + bulge} {y2:.0f} {x + 1} {y2:.0f}">'
        f"<title>{pair[0]} imports {pair[1]}: {count} files</title></path>"
    )


def main() -> None:
    """Writes the picture."""
    PICTURE.write_text(draw(), encoding="utf-8")
    print(PICTURE)


if __name__ == "__main__":
    main()
