"""How long does the first workflow take, where there is no server, no database and no configuration?"""

from __future__ import annotations

import sys

from bench.place import Place, median_of
from bench.row import Row

SCRIPT = """\
from jobmon.client.api import Tool

tool = Tool(name="quickstart")
template = tool.get_task_template("say", "echo {word}", node_args=["word"])
hello = template.create_task(word="hello")
world = template.create_task(word="world", upstream_tasks=[hello])
workflow = tool.create_workflow(name="quickstart")
workflow.add_tasks([hello, world])
assert workflow.run() == "D"
"""


def script_seconds() -> float:
    """Seconds of the script from start to end, in an empty home directory."""
    with Place() as place:
        script = place.directory / "quickstart.py"
        script.write_text(SCRIPT, encoding="utf-8")
        return place.command(sys.executable, str(script)).seconds


ROWS = (
    Row(
        "two dependent tasks from nothing, the whole script",
        "s",
        lambda: median_of(3, script_seconds, key=float),
        3,
        "peer 91 s, after a hand-made server and database",
    ),
)
