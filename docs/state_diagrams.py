"""The drawings of the state machines, made with Graphviz' ``dot``.

Each drawing bears the hash of the text it was drawn from, so that a stale one is found where ``dot`` is not installed.
"""

from __future__ import annotations

import hashlib
import re
import shutil
import subprocess
from collections import defaultdict
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from jobmon.core import states

DRAWINGS = Path(__file__).resolve().parent / "diagrams"
MACHINES: Mapping[str, Mapping[Any, Mapping[Any, Any]]] = {
    "workflow": states.WORKFLOW,
    "workflow_run": states.WORKFLOW_RUN,
    "task": states.TASK,
    "task_instance": states.TASK_INSTANCE,
}
PAGES = (
    Path(__file__).resolve().parents[1] / "src" / "jobmon" / "server" / "web" / "ui" / "drawing" / "machines"
)
"""The same drawings for the help page of the server, in its colours."""
EVENTS_PER_LINE = 3
LINE_BREAK = "\\n"


def dot_source(table: Mapping[Any, Mapping[Any, Any]]) -> str:
    """The machine in the language of ``dot``: one arrow per pair of states, labelled with its events."""
    arrows: defaultdict[tuple[Any, Any], list[str]] = defaultdict(list)
    for state, row in table.items():
        for event, target in row.items():
            if target is not states.STALE and target is not state:
                arrows[state, target].append(str(event))
    lines = [
        "digraph machine {",
        '  graph [rankdir=TB, bgcolor="white", nodesep=0.35, ranksep=0.55, pad=0.2, fontname="Helvetica"]',
        '  node [shape=box, style="rounded,filled", fillcolor="#eef3f8", color="#4a6a8a", fontname="Helvetica", fontsize=11]',
        '  edge [color="#5a5a5a", fontname="Helvetica", fontsize=9, arrowsize=0.7]',
        '  begin [shape=circle, label="", width=0.14, style=filled, fillcolor="#333333"]',
        f"  begin -> {next(iter(table)).name}",
    ]
    final = {state for state in table if not any(source is state for source, _ in arrows)}
    for state in table:
        extra = ", peripheries=2" if state in final else ""
        lines.append(f'  {state.name} [label="{state.name}\\n{state.value}"{extra}]')
    for (source, target), events in arrows.items():
        words = [", ".join(events[i : i + EVENTS_PER_LINE]) for i in range(0, len(events), EVENTS_PER_LINE)]
        lines.append(f'  {source.name} -> {target.name} [label="{LINE_BREAK.join(words)}"]')
    return "\n".join([*lines, "}", ""])


def mark(source: str) -> str:
    """The comment a drawing of this text bears."""
    return f"<!-- drawn from {hashlib.sha256(source.encode()).hexdigest()} -->"


def stale() -> list[str]:
    """Names of the machines whose drawings are not of today's tables."""
    return [name for name, table in MACHINES.items() if not _is_current(name, table)]


def _is_current(name: str, table: Mapping[Any, Mapping[Any, Any]]) -> bool:
    path = DRAWINGS / f"{name}.svg"
    return path.is_file() and path.read_text(encoding="utf-8").startswith(mark(dot_source(table)))


def draw_stale() -> list[str]:
    """Draw those anew that are stale; names of the files.

    Raises:
        SystemExit: one is, and ``dot`` is not installed.
    """
    names = stale()
    if names and shutil.which("dot") is None:
        raise SystemExit("The state machines have changed; install graphviz, then run 'make docs' again.")
    for name in names:
        source = dot_source(MACHINES[name])
        drawn = subprocess.run(["dot", "-Tsvg"], input=source, capture_output=True, text=True, check=True)
        svg = drawn.stdout[drawn.stdout.index("<svg") :]
        (DRAWINGS / f"{name}.svg").write_text(f"{mark(source)}\n{svg}", encoding="utf-8")
    return [f"{name}.svg" for name in names]


# -- for the pages of the server ------------------------------------------------------------------------
_GROUP = re.compile(r'<g id="(?:node|edge)\d+" class="(node|edge)">\s*<title>(.*?)</title>')
_LOOKS = re.compile(r' (?:fill|stroke|font-family|font-size)="[^"]*"')
_GROUND = re.compile(r"<polygon [^>]*/>\s*(?=<!-- begin -->)")


def page_drawing(drawing: str, table: Mapping[Any, Mapping[Any, Any]]) -> str:
    """A drawing without looks of its own: boxes have the class of their state's colour, the rest is the stylesheet's.

    Args:
        drawing: what ``dot`` made.
        table: the machine.
    """
    by_name = {state.name: state for state in table}

    def group(found: re.Match[str]) -> str:
        kind, title = found[1], found[2]
        colour = f" c-{states.colour_name(by_name[title])}" if title in by_name else ""
        return f'<g class="{kind}{colour}">'

    svg = _GROUND.sub("", drawing[drawing.index("<svg") :])
    svg = _GROUP.sub(group, svg)
    svg = re.sub(r"<!--.*?-->\n?|<title>.*?</title>\n?| id=\"[^\"]*\"", "", svg)
    svg = _LOOKS.sub("", svg)
    return re.sub(
        r'<svg width="[^"]*" height="[^"]*"\s*', '<svg class="machine" aria-hidden="true" ', svg, count=1
    )


def stale_pages() -> list[str]:
    """Names of the machines whose drawings for the pages are not made of today's."""
    return [name for name in MACHINES if _page_text(name) != _read(PAGES / f"{name}.svg")]


def _page_text(name: str) -> str:
    return page_drawing((DRAWINGS / f"{name}.svg").read_text(encoding="utf-8"), MACHINES[name])


def _read(path: Path) -> str:
    return path.read_text(encoding="utf-8") if path.is_file() else ""


def write_pages() -> list[str]:
    """Write those anew that are stale; names of the files."""
    PAGES.mkdir(exist_ok=True)
    names = stale_pages()
    for name in names:
        (PAGES / f"{name}.svg").write_text(_page_text(name), encoding="utf-8")
    return [f"{name}.svg" for name in names]
