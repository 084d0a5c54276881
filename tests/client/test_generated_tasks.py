"""Tasks of task generators: what is sent, their commands and names, and how they are found again."""

from __future__ import annotations

import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
from recording import RecordingRequester

from jobmon.client.tool import Tool
from jobmon.core import task_command
from jobmon.core.requester import Requester
from jobmon.core.task_generator import (
    TaskGenerator,
    get_tasks_by_node_args,
    imported_by_task,
    task_generator,
)

PROGRAM = Path(sys.executable).with_name("worker_node_entry_point")
BEGIN = f"{{}} task_generator --module_name {__name__} --func_name"


@pytest.fixture(autouse=True)
def _server(requester: RecordingRequester, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever looks for a server finds the recording one, and the program."""
    monkeypatch.setattr(Requester, "from_defaults", classmethod(lambda cls: requester))
    monkeypatch.setenv("JOBMON__DISTRIBUTOR__WORKER_NODE_ENTRY_POINT", "wnep")


def fit(country: str, years: list[int], scale: float = 1.0, note: str | None = None) -> None:
    """Fit."""


def generator(**settings: Any) -> TaskGenerator:
    """A new generator of ``fit``."""
    return task_generator(**{"serializers": {}, "tool_name": "life", "naming_args": ["country"], **settings})(
        fit
    )


def test_decorating_is_silent_and_the_first_task_registers(requester: RecordingRequester) -> None:
    made = generator()
    assert not requester.sent
    task = made.create_task(country="Côte d'Ivoire", years=[1990, 2000], note="")
    assert requester.sent["ToolRequest"] == 1
    assert task.name == "fit:country=Côte_d_Ivoire"
    assert task.command == (
        f"{BEGIN.format('wnep')} fit country='Côte d'\"'\"'Ivoire' years='[1990,2000]' scale=1.0 note=\"\""
    )
    assert list(task.node.node_args) == ["country", "years", "scale", "note"]
    assert (task.op_args, task.task_args) == ({"executable": "wnep"}, {})
    made.create_task(country="Chile", years=[])
    assert requester.sent["ToolRequest"] == requester.sent["TaskTemplateVersionRequest"] == 1


def test_absent_arguments_have_their_defaults() -> None:
    task = generator().create_task(country="Chile", years=[])
    assert task.command.endswith("years='[]' scale=1.0 note=None")


@pytest.mark.parametrize(
    ("kwargs", "words"),
    [
        (
            {"country": "Chile"},
            r"fit\(\) needs a value for years. It is fit\(country: str, years: list\[int\]",
        ),
        ({"country": "Chile", "years": [], "x": 1}, r"fit\(\) has no parameter x"),
        ({"country": 1, "years": []}, r"fit\(\): argument 'country': a value of type str is needed, not 1"),
        (
            {"country": "Chile", "years": ["1990"]},
            r"argument 'years': a value of type int is needed, not '1990'",
        ),
        ({"country": None, "years": []}, r"argument 'country': a value of type str is needed, not None"),
    ],
)
def test_wrong_arguments_are_refused_before_anything_is_sent(
    requester: RecordingRequester, kwargs: dict[str, Any], words: str
) -> None:
    with pytest.raises(TypeError, match=words):
        generator().create_task(**kwargs)
    with pytest.raises(TypeError, match=words):
        generator().create_tasks(**{name: [value] for name, value in kwargs.items()})
    assert not requester.sent


def test_a_value_that_the_database_cannot_keep() -> None:
    with pytest.raises(ValueError, match=r"'country' is 3000 characters long.*into a file and pass its path"):
        generator().create_task(country="x" * 3000, years=[])


def test_create_tasks_is_the_cross_product_as_an_array(tool: Tool) -> None:
    made = generator(naming_args=["years", "country"])
    first = made.create_task(country="Peru", years=[1])
    tasks = made.create_tasks(
        country=["Chile", "Norway"],
        years=[[1990], [], [2000, 1]],
        upstream_tasks=[first],
        compute_resources={"a": 1},
    )
    assert [task.name for task in tasks] == [
        f"fit:years=[{years}]:country={country}"
        for country in ("Chile", "Norway")
        for years in ("1990", "", "2000,1")
    ]
    assert all(task.upstream_tasks == {first} for task in tasks)
    assert len({id(task.array) for task in tasks}) == 1
    assert made.create_tasks(country=[], years=[[1]]) == []
    with pytest.raises(
        TypeError, match=r"'country' must be a list of values .*; write \['Chile'\] for one value"
    ):
        made.create_tasks(country="Chile", years=[[1]])
    workflow = tool.create_workflow()
    workflow.add_tasks([*tasks, first])
    assert len(workflow.tasks) == 7


def test_names_follow_the_order_of_the_template() -> None:
    """Even where another generator of the same name registered the version with its parameters in another order."""
    one = generator()
    one.create_tasks(country=["a"], years=[[1]])
    other = generator(name_func=lambda prefix, kwargs: f"{prefix}-{kwargs['country']}")
    other._tool = one.tool
    other.parameters["country"] = other.parameters.pop("country")  # now the last
    tasks = other.create_tasks(country=["a", "b"], years=[[1], [2]])
    assert [task.name for task in tasks] == [f"fit-{task.node.node_args['country']}" for task in tasks]


def test_tasks_are_found_by_their_values(tool: Tool) -> None:
    made = generator()
    tasks = made.create_tasks(
        country=["Chile", "it's", "None"], years=[[1990], [1990, 2000]], note=[None, ""]
    )
    workflow = tool.create_workflow()

    def found(**wanted: Any) -> list[Any]:
        return get_tasks_by_node_args(workflow, made, wanted)

    assert get_tasks_by_node_args(workflow, made, {"country": "Chile"}, error_on_empty=False) == []
    with pytest.raises(ValueError, match="no task of 'fit' with country='Chile'"):
        found(country="Chile")
    workflow.add_tasks(tasks)
    assert found() == tasks
    assert len(found(country="it's")) == 4
    assert len(found(country=["Chile", "None"], note=None)) == 4
    assert len(found(years=[1990])) == 6
    assert len(found(years=[[1990], [1990, 2000]], note="")) == 6
    assert len(found(years=(1990, 2000), country={"Chile"}, scale=1)) == 2
    assert get_tasks_by_node_args(workflow, made, {"country": "Peru"}, error_on_empty=False) == []
    with pytest.raises(TypeError, match="no parameter city"):
        found(city="x")
    with pytest.raises(TypeError, match="'country'"):
        found(country=3)


def test_defaults_reach_the_template(tmp_path: Path) -> None:
    file = tmp_path / "resources.yaml"
    file.write_text("task_template_resources: {fit: {dummy: {memory: 3G, cores: 2}}}")
    made = generator(
        max_attempts=7,
        yaml_file=file,
        default_cluster_name="multiprocess",
        default_compute_resources={"memory": "1G"},
        default_resource_scales={"memory": 2},
    )
    task = made.create_task(country="Chile", years=[])
    assert (task.cluster_name, task.max_attempts) == ("multiprocess", 7)
    assert (task.compute_resources, task.resource_scales) == ({"memory": "1G"}, {"memory": 2})
    task = made.create_task(
        "dummy", {"cores": 1}, {"cores": 1}, [task], {"kind": "second"}, country="Peru", years=[]
    )
    assert task.compute_resources == {"memory": "3G", "cores": 1}
    assert (task.task_attributes, len(task.upstream_tasks)) == ({"kind": "second"}, 1)


def test_no_task_is_made_while_a_task_imports_the_module(requester: RecordingRequester) -> None:
    """A control script without a guard would run itself in each of its tasks."""
    with imported_by_task(), pytest.raises(RuntimeError, match='if __name__ == "__main__"'):
        generator().create_task(country="Chile", years=[])
    assert not requester.sent


# -- the command ----------------------------------------------------------------------------------------
def test_the_program_is_found_or_asked_for(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    assert task_command.find_executable() == "wnep"
    monkeypatch.delenv("JOBMON__DISTRIBUTOR__WORKER_NODE_ENTRY_POINT")
    place = tmp_path / "a place"
    place.mkdir()
    monkeypatch.setattr(sys, "executable", str(place / "python"))
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(FileNotFoundError, match="pip install jobmon"):
        task_command.find_executable()
    for directory, words in ((tmp_path, str(tmp_path / PROGRAM.name)), (place, f"'{place / PROGRAM.name}'")):
        (directory / PROGRAM.name).touch(0o755)
        assert task_command.find_executable() == words


def a_module(file: Path | None, spec: str = "") -> ModuleType:
    """Something like a module that was imported."""
    module: Any = SimpleNamespace(__spec__=SimpleNamespace(name=spec) if spec else None)
    if file is not None:
        module.__file__ = str(file)
    return module


@pytest.mark.parametrize(
    ("main", "spec", "name", "file", "address"),
    [
        ("run.py", "", "life", "life.py", ("life", "life.py")),
        ("run.py", "", "pack.life", "pack/life.py", ("pack.life", "pack/life.py")),
        ("run.py", "", "pack", "pack/__init__.py", ("pack", "pack/__init__.py")),
        ("run.py", "", "life", "site/life.py", ("life", "")),
        ("run.py", "", "__main__", "run.py", ("run", "run.py")),
        ("pack/run.py", "pack.run", "__main__", "pack/run.py", ("pack.run", "pack/run.py")),
        ("pack/run.py", "pack.run", "life", "life.py", ("life", "life.py")),
        ("pack/run.py", "pack.run", "life", "pack/life.py", ("life", "")),
        ("", "", "life", "life.py", ("life", "life.py")),
    ],
)
def test_modules_beside_the_script_are_named_by_their_file(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    main: str,
    spec: str,
    name: str,
    file: str,
    address: tuple[str, str],
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setitem(sys.modules, name, a_module(tmp_path / file))
    monkeypatch.setitem(sys.modules, "__main__", a_module(tmp_path / main if main else None, spec))
    module, path = task_command.find_address(name, None)
    assert (module, path) == (address[0], str(tmp_path / address[1]) if address[1] else "")


def test_a_function_of_an_interactive_session_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "__main__", a_module(None))
    with pytest.raises(RuntimeError, match="interactive session"):
        task_command.find_address("__main__", None)


def test_a_file_the_user_names_may_have_any_name(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Braces and spaces too; it is made absolute."""
    monkeypatch.chdir(tmp_path)
    task = generator(module_source_path="a {b}/life.py").create_task(country="{x}", years=[])
    assert (
        f"--func_name fit --module_source_path '{tmp_path}/a {{b}}/life.py' country='{{x}}'" in task.command
    )
