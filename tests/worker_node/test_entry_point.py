"""``worker_node_entry_point task_generator`` as tasks and people call it."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

pytestmark = pytest.mark.e2e

PROGRAM = Path(sys.executable).with_name("worker_node_entry_point")
LIFE = """
from jobmon.core.task_generator import TaskGenerator, task_generator
from life_data import UNIT

@task_generator(serializers={}, tool_name="life")
def fit(country: str, years: list[int], scale: float = 1.0) -> None:
    '''Fit one country.'''
    print(repr((country, years, scale)), UNIT)

@task_generator(serializers={}, tool_name="life")
def boom(country: str) -> None:
    raise KeyError(country)

def plain() -> None: ...

def hidden(country: str) -> None:
    print("hidden", country)

other_name = TaskGenerator(hidden, {}, "life")
"""
Run = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """Modules of a user."""
    (tmp_path / "life.py").write_text(LIFE)
    (tmp_path / "life_data.py").write_text("UNIT = 'years'\n")
    package = tmp_path / "deep" / "pack"
    package.mkdir(parents=True)
    (package / "__init__.py").write_text("")
    (package / "life_data.py").write_text("UNIT = 'months'\n")
    (package / "life.py").write_text(LIFE.replace("from life_data", "from .life_data"))
    (tmp_path / "broken.py").write_text("import no_such_module_at_all\n")
    (tmp_path / "unguarded.py").write_text(LIFE + "fit.create_task(country='x', years=[])\n")
    return tmp_path


@pytest.fixture
def run(project: Path) -> Run:
    """Call the program in the project, or elsewhere."""

    def call(*words: str, cwd: Path = project) -> subprocess.CompletedProcess[str]:
        return subprocess.run([PROGRAM, *words], cwd=cwd, capture_output=True, text=True, check=False)

    return call


def test_the_function_is_called_from_a_module_found_by_name_or_by_file(
    run: Run, project: Path, tmp_path: Path
) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    args = ("country=it's, [x]", "years=[1,-2]")
    done = run("task_generator", "--module_name", "life", "--func_name", "fit", *args)
    assert (done.stdout, done.stderr, done.returncode) == ('("it\'s, [x]", [1, -2], 1.0) years\n', "", 0)
    for module, file, unit in (
        ("life", project / "life.py", "years"),
        ("pack.life", project / "deep" / "pack" / "life.py", "months"),
        ("any_name", project / "life.py", "years"),
    ):
        where = ("--module_name", module, "--module_source_path", str(file))
        done = run("task_generator", *where, "--func_name", "fit", *args, cwd=elsewhere)
        assert (done.stdout, done.stderr) == (f'("it\'s, [x]", [1, -2], 1.0) {unit}\n', "")
    done = run("task_generator", "--module_name", "life", "--func_name", "hidden", "country=x")
    assert done.stdout == "hidden x\n"


@pytest.mark.parametrize("word", [[], ["X"]])
def test_arghelp(run: Run, word: list[str]) -> None:
    done = run("task_generator", "--module_name", "life", "--func_name", "fit", "--arghelp", *word)
    assert done.returncode == 0
    assert "Fit one country." in done.stdout
    assert "  years: list[int] (required)\n  scale: float (default 1.0)\n" in done.stdout


@pytest.mark.parametrize(
    ("module", "function", "args", "words"),
    [
        ("nowhere", "fit", [], "there is no module 'nowhere'"),
        ("life", "nothing", [], "has no task generator 'nothing'. It has: boom, fit, hidden."),
        ("life", "plain", [], "'plain' of module life"),
        ("life", "fit", ["country=x"], "needs a value for years"),
        ("life", "fit", ["country=x", "years=[1]", "z=1"], "no parameter z"),
        ("life", "fit", ["country=x", "years=[a]"], "argument 'years' cannot be read as list[int]"),
    ],
)
def test_a_wrong_command_line_is_one_sentence_and_exit_code_2(
    run: Run, module: str, function: str, args: list[str], words: str
) -> None:
    done = run("task_generator", "--module_name", module, "--func_name", function, *args)
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (2, "", 1)
    assert words in done.stderr


def test_what_argparse_refuses(run: Run) -> None:
    for words in ([], ["task_generator"], ["worker_node_job", "--task_instance_id", "1"]):
        done = run(*words)
        assert done.returncode == 2
        assert done.stderr.startswith("usage: worker_node_entry_point")
    done = run(
        "task_generator", "--module_name", "x", "--module_source_path", "no/file.py", "--func_name", "fit"
    )
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)


def test_an_error_of_the_user_has_its_traceback(run: Run) -> None:
    done = run("task_generator", "--module_name", "life", "--func_name", "boom", "country=x")
    assert done.returncode == 1
    assert done.stderr.endswith("KeyError: 'x'\n")
    done = run("task_generator", "--module_name", "broken", "--func_name", "fit")
    assert done.returncode == 1
    assert "No module named 'no_such_module_at_all'" in done.stderr
    done = run("task_generator", "--module_name", "unguarded", "--func_name", "fit", "country=x", "years=[]")
    assert done.returncode == 1
    assert 'behind if __name__ == "__main__"' in done.stderr


def test_nothing_of_the_client_is_loaded_before_the_function_runs(project: Path) -> None:
    program = (
        "import sys; from jobmon.worker_node.cli import run; "
        "run(['task_generator', '--module_name', 'life', '--func_name', 'fit', 'country=x', 'years=[]']); "
        "print(*sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=project, capture_output=True, text=True, check=True
    )
    loaded = set(done.stdout.splitlines()[-1].split())
    assert not loaded & {
        "httpx",
        "yaml",
        "msgspec",
        "asyncio",
        "subprocess",
        "click",
        "jobmon.client",
        "jobmon.core.states",
    }
