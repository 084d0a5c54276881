"""Functions as tasks, from the control script to what they wrote."""

from __future__ import annotations

import sys
from itertools import product

import pytest

from processes import Place

pytestmark = pytest.mark.e2e

LIFE = """
from __future__ import annotations

import json
from pathlib import Path
from typing import Optional

from jobmon.core.task_generator import task_generator


class Country:
    def __init__(self, name): self.name = name
    def __repr__(self): return f"Country({self.name!r})"


@task_generator(serializers={Country: (lambda c: c.name, Country)}, tool_name="life", naming_args=["number", "text"])
def write(
    number: int, text: Optional[str], directory: str,
    tags: set[str], numbers: tuple[Optional[float], ...], country: Country = Country("Côte d'Ivoire"),
) -> None:
    values = (number, text, sorted(tags), numbers, country.name)
    Path(directory, f"{number} {text!r:.4}".replace("/", "_")).write_text(repr(values), encoding="utf-8")
"""
TEXTS = ["", "None", None, 'it\'s "5"\n{x}, [y] \\ $HOME; exit 3', "ü 😀"]
SCRIPT = f"""
import sys
from life import write
from jobmon.client.api import Tool
from jobmon.core.task_generator import get_tasks_by_node_args

workflow = Tool(name="control").create_workflow(name="life", default_cluster_name="multiprocess")
tasks = write.create_tasks(
    number=range(4), text={TEXTS!r}, directory=[sys.argv[1]], tags=[{{"b,", "", "a"}}], numbers=[(1, None, -0.0)]
)
last = write.create_task(number=99, text="last", directory=sys.argv[1], tags=set(), numbers=(), upstream_tasks=tasks)
workflow.add_tasks([*tasks, last])
assert get_tasks_by_node_args(workflow, write, {{"number": 99}}) == [last]
print("COMMAND", '"' + str("--module_source_path" in last.command) + '"')
print("STATUS", '"' + workflow.run() + '"')
"""


def test_twenty_combinations_arrive_as_they_were_given(place: Place) -> None:
    """The script lies beside its module and is started from elsewhere."""
    project = place.root / "pro {ject}"
    project.mkdir()
    (project / "life.py").write_text(LIFE)
    (project / "run.py").write_text(SCRIPT)
    out = place.root / "out put's"
    out.mkdir()
    script = place.start([sys.executable, project / "run.py", out])
    assert script.end() == 0, script.text
    assert (script.said("STATUS"), script.said("COMMAND")) == ("D", "True")
    written = {path.read_text(encoding="utf-8") for path in out.iterdir()}
    country = "Côte d'Ivoire"
    expected = {
        repr((n, text, ["", "a", "b,"], (1.0, None, -0.0), country)) for n, text in product(range(4), TEXTS)
    }
    assert written == expected | {repr((99, "last", [], (), country))}
    names = {row[0] for row in place.sql("SELECT name FROM task")}
    assert {"write:number=0:text=", "write:number=3:text=ü_😀", "write:number=99:text=last"} < names


GUARDED = """
import sys
from pathlib import Path
from jobmon.client.api import Tool
from jobmon.core.task_generator import task_generator

@task_generator(serializers={}, tool_name="one", naming_args=[])
def fail(number: int, path: str) -> None:
    Path(path).touch()
    raise ValueError(f"no luck with {number}")

GUARD
    workflow = Tool(name="one").create_workflow(default_cluster_name="multiprocess", default_max_attempts=1)
    workflow.add_task(fail.create_task(number=3, path=sys.argv[-1] if len(sys.argv) == 2 else "x"))
    print("STATUS", '"' + workflow.run() + '"')
    print("ERRORS", '"' + str("no luck with 3" in str(workflow.task_errors)) + '"')
"""


def test_a_script_of_one_file(place: Place) -> None:
    """The function is in the control script itself; its error is that of the task."""
    path = place.root / "touched"
    (place.root / "control-script.py").write_text(GUARDED.replace("GUARD", 'if __name__ == "__main__":'))
    script = place.start([sys.executable, place.root / "control-script.py", path])
    assert script.end() == 0, script.text
    assert (script.said("STATUS"), script.said("ERRORS"), path.exists()) == ("E", "True", True)


def test_a_script_without_a_guard_does_not_start_itself_again(place: Place) -> None:
    path = place.root / "touched"
    (place.root / "control.py").write_text(GUARDED.replace("GUARD", "if True:"))
    script = place.start([sys.executable, place.root / "control.py", path])
    assert script.end() == 0, script.text
    assert (script.said("STATUS"), path.exists()) == ("E", False)
    assert place.scalar("SELECT count(*) FROM workflow") == 1
    assert 'behind if __name__ == "__main__"' in place.errors("fail")
