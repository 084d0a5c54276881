"""Letters of states are spelt in :mod:`jobmon.core.states` and nowhere else."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator

import pytest
from source import modules

from jobmon.core.states import TaskInstanceStatus, TaskStatus, WorkflowRunStatus, WorkflowStatus

HOME = "core/states.py"
STATES = (WorkflowStatus, WorkflowRunStatus, TaskStatus, TaskInstanceStatus)
LETTERS = {state.value for kind in STATES for state in kind}

EXCEPTIONS = {
    "client/commands/resources.py": ({"B"}, "a unit of memory"),
    "core/constants.py": ({"O", "A"}, "TaskResourcesType: where resources come from, no states"),
    "core/recommendation.py": ({"G"}, "a unit of memory"),
    "core/resources.py": ({"B", "K", "G", "T"}, "units of memory"),
    "plugins/slurm/amounts.py": ({"T"}, "units of memory"),
    "plugins/slurm/commands.py": ({"C"}, "the plain locale"),
    "plugins/slurm/listing.py": ({"A"}, "a letter of squeue's fields"),
    "plugins/slurm/submission.py": ({"G"}, "a unit of memory"),
    "plugins/slurm/worker_node.py": ({"K"}, "a unit of memory"),
    "server/migrations/versions/0007_counters.py": (
        {"G", "Q", "I", "O", "R", "D", "E", "A", "F"},
        "tasks' states as they were then: a migration does not follow later ones",
    ),
    "server/web/store/template_attempts.py": ({"H"}, "a type of numbers in an array"),
    "server/web/ui/drawing/curve.py": ({"L"}, "a line of SVG"),
    "server/web/ui/drawing/template_graph.py": ({"C", "H"}, "lines of SVG"),
    "server/web/ui/drawing/timeline.py": ({"H"}, "a line of SVG"),
    "testing/fake_slurm/accounting.py": ({"D", "E", "K", "S", "X"}, "letters of sacct's options"),
    "testing/fake_slurm/controlling.py": ({"Q"}, "letters of scancel's and scontrol's options"),
    "testing/fake_slurm/listing.py": (
        {"A", "D", "L", "O", "R", "S"},
        "letters of squeue's and sinfo's options and fields",
    ),
    "testing/fake_slurm/model.py": ({"F", "R", "S"}, "Slurm's own short states"),
    "testing/fake_slurm/rows.py": (
        {"A", "B", "C", "D", "F", "K", "L", "Q", "R", "S", "T", "U", "Z"},
        "letters of squeue's fields",
    ),
    "testing/fake_slurm/script_environment.py": ({"A"}, "letters in the names of log files"),
    "testing/fake_slurm/submitting.py": ({"A", "C", "D", "G", "H", "Q"}, "letters of sbatch's options"),
    "testing/fake_slurm/texts.py": ({"G", "K", "T"}, "units of memory"),
}
"""File: the letters it may hold, and what they are there."""

SETS_IN_A_STRING = {"DF", "FD", "CH", "HC", "QIOR", "QI", "IO"}
"""As in ``status in "DF"``."""

# A letter in a comparison with a column of a status inside SQL text.
SQL = re.compile(r"\b(status|\w+_(from|to))\s*(=|<>|!=|(NOT\s+)?IN\s*\()\s*'[A-Z]'", re.IGNORECASE)


def letters_in(tree: ast.AST) -> Iterator[tuple[str, int]]:
    """Constants that look like a state, with their lines; names of type variables are none."""
    if isinstance(tree, ast.Call) and isinstance(tree.func, ast.Name) and tree.func.id == "TypeVar":
        return
    if isinstance(tree, ast.Constant) and isinstance(tree.value, str):
        text = tree.value
        if text in LETTERS or text in SETS_IN_A_STRING or SQL.search(text):
            yield text, tree.lineno
    for child in ast.iter_child_nodes(tree):
        yield from letters_in(child)


def test_no_letter_outside_of_their_home() -> None:
    found = []
    for name, tree in modules().items():
        allowed, _ = EXCEPTIONS.get(name, (set(), ""))
        if name != HOME:
            found += [
                f"src/jobmon/{name}:{line}: {value!r}"
                for value, line in letters_in(tree)
                if value not in allowed
            ]
    assert found == [], "use the enums of jobmon.core.states"


@pytest.mark.parametrize("name", sorted(EXCEPTIONS))
def test_exceptions_are_still_needed(name: str) -> None:
    allowed, why = EXCEPTIONS[name]
    assert why
    assert allowed == {value for value, _ in letters_in(modules()[name])} & allowed


@pytest.mark.parametrize(
    ("text", "count"),
    [
        ('task.status == "D"', 1),
        ('status = "F"', 1),
        ('run(status="R")', 1),
        ('x in ("D", "F")', 2),
        ('{"G": 1}', 1),
        ('x in "DF"', 1),
        ("\"SELECT 1 FROM task WHERE status = 'D'\"", 1),
        ("\"UPDATE task SET x = 1 WHERE t.status IN ('G', 'Q')\"", 1),
        ("\"WHERE task_to <> 'D'\"", 1),
        ('T = TypeVar("T")', 0),
        ('"a sentence (``D``)"', 0),
        ('"d"', 0),
        ('open(path, "r")', 0),
        ("\"WHERE name = 'D'\"", 0),
    ],
)
def test_the_search_finds_what_it_should(text: str, count: int) -> None:
    assert len(list(letters_in(ast.parse(text)))) == count
