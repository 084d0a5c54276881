"""Run as a script: workflows to be looked at, by a user of the local server. The last line printed has their ids as JSON."""

from __future__ import annotations

import json
from pathlib import Path

from jobmon.client.api import Tool
from jobmon.client.workflow import Workflow
from jobmon.core.states import WorkflowRunStatus

HOSTILE = "<script>alert(1)</script> & \"quoted\" 'text' ${x}"
PYTHON = "python3"
FRAGILE = Path("fragile.py")

FRAGILE.write_text(
    "import sys, os\n"
    "def load(path):\n"
    "    raise ValueError(f'no rows in {path}')\n"
    "if os.path.exists('mended') or sys.argv[1] not in ('2', '5'):\n"
    "    print('fitted', sys.argv[1])\n"
    "else:\n"
    "    print('<script>alert(2)</script>', file=sys.stderr)\n"
    "    load(f'/data/{sys.argv[1]}.csv')\n"
)

tool = Tool("burden of <b>disease</b>")
tool.set_default_compute_resources_from_dict("multiprocess", {"queue": "null.q", "cores": 1})
prepare = tool.get_task_template("prepare", command_template="echo {location}", node_args=["location"])
fit = tool.get_task_template(
    "fit",
    command_template=f"{PYTHON} fragile.py {{location}} --draws {{draws}}",
    node_args=["location"],
    task_args=["draws"],
)
summary = tool.get_task_template("summary", command_template="true {year}", node_args=["year"])
nothing = tool.get_task_template("nothing", command_template="true {n}", node_args=["n"])


def workflow(name: str, count: int, suffix: str = "") -> Workflow:
    made = tool.create_workflow(
        name=name,
        workflow_args=f"{name} 1",
        description=f"For the pages: {name}",
        default_cluster_name="multiprocess",
        workflow_attributes={"release": "2026"},
    )
    first = [prepare.create_task(location=i, name=f"prepare_{i}") for i in range(count)]
    second = [
        fit.create_task(
            location=i, draws=100, name=f"fit_{i}{suffix}", upstream_tasks=[first[i]], max_attempts=2
        )
        for i in range(count)
    ]
    last = summary.create_task(year=2026, name="summary", upstream_tasks=second)
    made.add_tasks([*first, *second, last])
    return made


def wide(count: int) -> Workflow:
    made = tool.create_workflow(name="wide", workflow_args="wide", default_cluster_name="dummy")
    made.add_tasks(
        [
            nothing.create_task(n=i, cluster_name="dummy", compute_resources={"queue": "null.q"})
            for i in range(count)
        ]
    )
    return made


def main() -> None:
    failing = workflow("failing", 6)
    assert failing.run() != WorkflowRunStatus.DONE
    reset = workflow("to be reset", 6)
    assert reset.run() != WorkflowRunStatus.DONE
    resumed = workflow("resumed", 6)
    assert resumed.run() != WorkflowRunStatus.DONE
    Path("mended").touch()
    assert resumed.run(resume=True) == WorkflowRunStatus.DONE
    done = workflow("done", 3)
    assert done.run() == WorkflowRunStatus.DONE
    Path("mended").unlink()
    hostile = workflow(HOSTILE, 3, "<img_src=x_onerror=alert(3)>")
    assert hostile.run() != WorkflowRunStatus.DONE
    large = wide(3000)
    assert large.run() == WorkflowRunStatus.DONE
    failed = next(task for task in failing.tasks.values() if task.name == "fit_2")
    reset_task = next(task for task in reset.tasks.values() if task.name == "fit_2")
    ids = {
        "reset": reset.workflow_id,
        "reset task": reset_task.task_id,
        "reset array": reset_task.array.array_id,
        "failing": failing.workflow_id,
        "resumed": resumed.workflow_id,
        "done": done.workflow_id,
        "hostile": hostile.workflow_id,
        "wide": large.workflow_id,
        "failed task": failed.task_id,
        "array": failed.array.array_id,
        "wide array": next(iter(large.tasks.values())).array.array_id,
    }
    print(json.dumps(ids))


if __name__ == "__main__":
    main()
