"""The code blocks of the documentation do what they say.

The words after the language of a block decide: ``python`` is run (``python NAME.py`` is saved under that name
first), ``sh run`` too; with ``fails`` behind it the block must fail. Every other block is left alone. The blocks of a
page run in their order, in one directory that holds a copy of ``examples``, with a local server of their own.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from jobmon.core.local_server import LocalServerFiles, stop

ROOT = Path(__file__).resolve().parents[2]
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


def blocks(page: Path) -> list[Block]:
    """The blocks of a page that are run."""
    text = page.read_text(encoding="utf-8")
    found = (
        Block(text.count("\n", 0, m.start()) + 1, m["info"].split(), m["code"]) for m in BLOCK.finditer(text)
    )
    return [block for block in found if block.is_run]


PAGES = [page for page in (ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))) if blocks(page)]


@pytest.fixture
def environment(tmp_path: Path) -> Iterator[dict[str, str]]:
    """Environment of the blocks; the local server they start is ended at the end."""
    files = LocalServerFiles(tmp_path / "jobmon")
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    variables = {name: value for name, value in os.environ.items() if not name.startswith("JOBMON__")}
    yield {
        **variables,
        "PATH": path,
        "HOME": str(tmp_path),
        "JOBMON__EMBEDDED__DIRECTORY": str(files.directory),
    }
    if files.directory.exists():
        stop(files)


def run(block: Block, directory: Path, environment: dict[str, str]) -> subprocess.CompletedProcess[str]:
    """Run one block; stdout and stderr come together."""
    if block.words[0] == "python":
        script = directory / (block.words[1] if len(block.words) > 1 else f"block_{block.line}.py")
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


@pytest.mark.e2e
@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_blocks_run(page: Path, tmp_path: Path, environment: dict[str, str]) -> None:
    """Every block that is meant to be run ends as the page says."""
    directory = tmp_path / "here"
    shutil.copytree(ROOT / "examples", directory / "examples", ignore=shutil.ignore_patterns("results"))
    for block in blocks(page):
        done = run(block, directory, environment)
        failed = done.returncode != 0
        assert failed == ("fails" in block.words), (
            f"{page.name}, line {block.line}:\n{block.code}\n{done.stdout}"
        )


def test_first_example_is_the_one_in_the_examples() -> None:
    """The script in the README and examples/my_workflow.py are the same text."""
    example = (ROOT / "examples" / "my_workflow.py").read_text(encoding="utf-8")
    shown = [
        block.code for block in blocks(ROOT / "README.md") if block.words == ["python", "my_workflow.py"]
    ]
    assert shown == [example]


@pytest.mark.parametrize(
    "page", [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")], ids=lambda page: page.name
)
def test_links_lead_somewhere(page: Path) -> None:
    """A relative link of a page names a file that exists."""
    links = re.findall(r"\]\((?!https?:|#|mailto:)([^)#\s]+)", page.read_text(encoding="utf-8"))
    assert [link for link in links if not (page.parent / link).exists()] == []
