"""The code blocks of the documentation do what they say (see ``tests/code_blocks.py``), and its links lead somewhere."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from code_blocks import ROOT, blocks, check, pages, place

PAGES = [
    page
    for page in pages()
    if not all(block.needs_slurm for block in blocks(page))
    and not any(block.databases for block in blocks(page))
]


@pytest.mark.e2e
@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_blocks_run(page: Path, tmp_path: Path) -> None:
    """Every block that is meant to be run ends as the page says; those that need Slurm are run with the tests of it."""
    with place(tmp_path) as environment:
        for block in blocks(page):
            if not block.needs_slurm:
                check(page, block, tmp_path / "here", environment)


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


def test_the_sentences_explained_are_those_that_are_said() -> None:
    """What the page on Slurm says about a message is about one that Jobmon has."""
    page = (ROOT / "docs" / "howto" / "slurm.md").read_text(encoding="utf-8")
    _, _, explained = page.partition("## What it says, and what to do")
    sentences = re.findall(r"^`(.+)`\n: ", explained, re.MULTILINE)
    sources = (path.read_text(encoding="utf-8") for path in (ROOT / "src" / "jobmon").rglob("*.py"))
    said = re.sub(r'"\n\s*f?"', "", "".join(sources))  # texts that go on in the next line of the source
    assert len(sentences) > 10
    assert [sentence for sentence in sentences if sentence not in _with_names(said)] == []


def _with_names(said: str) -> str:
    """Texts of the source with what stands for names filled in as the page has it."""
    return said.replace("'{cluster_name}'", "'slurm'").replace("'{name}'", "'slurm'")
