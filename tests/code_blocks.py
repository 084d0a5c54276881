"""The code blocks of the documentation, and how they are run.

The words after the language of a block decide: ``python`` is run (``python NAME.py`` is saved under that name
first), ``sh run`` too. With ``fails`` behind it the block must fail; with ``slurm`` it is run only where there is a
Slurm; a page with blocks for one database is followed on each (``tests/docs/test_operations.py``). Every other block
is left alone. The blocks of a page run in their order, in one directory that holds a copy of ``examples``, with a
local server of their own.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from databases import Backend
from jobmon.core.local_server import LocalServerFiles, stop

ROOT = Path(__file__).resolve().parents[1]
BLOCK = re.compile(r"^```(?P<info>[^\n`]+)\n(?P<code>.*?)^```$", re.MULTILINE | re.DOTALL)


class Block(NamedTuple):
    """A code block: the line it starts at, the words it opens with, and its text."""

    line: int
    words: list[str]
    code: str

    @property
    def is_run(self) -> bool:
        """Whether the block is more than an illustration."""
        return self.words[0] == "python" or self.words[:2] == ["sh", "run"]

    @property
    def needs_slurm(self) -> bool:
        """Whether it submits to Slurm, or asks it something."""
        return "slurm" in self.words

    @property
    def databases(self) -> set[str]:
        """The databases it is for; none: for all."""
        return set(self.words) & set(Backend)

    @property
    def file_name(self) -> str:
        """Name of the script it is saved as."""
        return self.words[1] if len(self.words) > 1 else f"block_{self.line}.py"


def blocks(page: Path) -> list[Block]:
    """The blocks of a page that are run."""
    text = page.read_text(encoding="utf-8")
    found = (
        Block(text.count("\n", 0, m.start()) + 1, m["info"].split(), m["code"]) for m in BLOCK.finditer(text)
    )
    return [block for block in found if block.is_run]


def pages() -> list[Path]:
    """The pages that have blocks which are run."""
    return [page for page in (ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))) if blocks(page)]


@contextmanager
def place(directory: Path) -> Iterator[dict[str, str]]:
    """Environment of the blocks; the local server they start is ended at the end.

    Args:
        directory: an empty one, which becomes their home; they are run in ``here`` below it.
    """
    files = LocalServerFiles(directory / "jobmon")
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    variables = {name: value for name, value in os.environ.items() if not name.startswith("JOBMON__")}
    shutil.copytree(
        ROOT / "examples", directory / "here" / "examples", ignore=shutil.ignore_patterns("results")
    )
    try:
        yield {
            **variables,
            "PATH": path,
            "HOME": str(directory),
            "JOBMON__EMBEDDED__DIRECTORY": str(files.directory),
        }
    finally:
        if files.directory.exists():
            stop(files)


def run(block: Block, directory: Path, environment: Mapping[str, str]) -> subprocess.CompletedProcess[str]:
    """Run one block; stdout and stderr come together."""
    if block.words[0] == "python":
        script = directory / block.file_name
        script.write_text(block.code, encoding="utf-8")
        command = [sys.executable, str(script)]
    else:
        command = ["bash", "-euo", "pipefail", "-c", block.code]
    return subprocess.run(
        command,
        cwd=directory,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=100,
    )


def check(page: Path, block: Block, directory: Path, environment: Mapping[str, str]) -> str:
    """Run a block, which must end as the page says; what it printed."""
    done = run(block, directory, environment)
    failed = done.returncode != 0
    assert failed == ("fails" in block.words), f"{page.name}, line {block.line}:\n{block.code}\n{done.stdout}"
    return done.stdout
