"""A control script driven by a JSON file, for tests: ``python flow.py SPEC.json``.

The file: ``tasks`` (each ``name``, ``command``, ``upstream`` and what ``create_task`` takes; ``template`` puts a task
into an array of its own), ``workflow`` (arguments of ``create_workflow``), ``template_limits``, ``run`` (arguments of
``run``; null: only register), and ``pause``: a file to wait for after the workflow is registered. It prints
``BOUND <workflow id>`` and at last ``RESULT`` or ``ERROR`` with a JSON object.
"""

import json
import sys
import time
from pathlib import Path

from jobmon.client.api import Tool
from jobmon.core.exceptions import JobmonError


def say(word, value):
    print(word, json.dumps(value), flush=True)


def build(spec):
    tool = Tool(name="e2e")
    workflow = tool.create_workflow(
        **{
            "name": "flow",
            "workflow_args": "flow",
            "default_cluster_name": "multiprocess",
            **spec.get("workflow", {}),
        }
    )
    made = {}
    for task in spec["tasks"]:
        details = {
            key: value
            for key, value in task.items()
            if key not in ("name", "command", "upstream", "template")
        }
        template = tool.get_task_template(
            template_name=task.get("template", "step"),
            command_template=": {which}; {command}",
            node_args=["which"],
            op_args=["command"],
        )
        made[task["name"]] = template.create_task(
            name=task["name"],
            which=task["name"],
            command=task["command"],
            upstream_tasks=[made[name] for name in task.get("upstream", ())],
            **details,
        )
        workflow.add_task(made[task["name"]])
    for name, limit in spec.get("template_limits", {}).items():
        workflow.set_task_template_max_concurrency_limit(name, limit)
    return workflow


def main():
    spec = json.loads(Path(sys.argv[1]).read_text())
    try:
        workflow = build(spec)
        if spec.get("bind", True):
            workflow.bind()
            say("BOUND", workflow.workflow_id)
        while "pause" in spec and not Path(spec["pause"]).exists():
            time.sleep(0.005)
        if spec.get("run", {}) is None:
            return
        result = workflow.run(**spec.get("run", {}))
    except KeyboardInterrupt:
        say("ERROR", {"type": "KeyboardInterrupt", "message": ""})
        raise
    except (JobmonError, ValueError) as error:
        say(
            "ERROR",
            {"type": type(error).__name__, "message": str(error), "notes": getattr(error, "__notes__", [])},
        )
        sys.exit(1)
    say(
        "RESULT",
        {
            "status": str(result),
            "done": result.done_count,
            "failed": result.failed_count,
            "before": result.num_previously_complete,
            "new": result.num_newly_completed,
            "workflow_id": result.workflow_id,
            "elapsed": result.elapsed_time,
            "errors": {
                name: [each["description"] for each in found["error_log"]]
                for name, found in workflow.task_errors.items()
            },
        },
    )


if __name__ == "__main__":
    main()
