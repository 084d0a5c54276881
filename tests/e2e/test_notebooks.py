"""Workflows in a notebook: a real kernel with its running event loop."""

from __future__ import annotations

import json
import sys

import pytest

from processes import Place

pytestmark = [pytest.mark.e2e, pytest.mark.slow]

NOTEBOOK = """
import json, os, sys
import nbclient, nbformat
from nbformat.v4 import new_code_cell, new_notebook

cells = [
    '''
import asyncio
assert asyncio.get_running_loop().is_running()
from jobmon.client.api import Tool
tool = Tool("<t>")
workflow = tool.create_workflow(name="<b>bold</b>", default_cluster_name="multiprocess", default_max_attempts=1)
template = tool.get_task_template("s", "sleep 0.7; {c}", node_args=["c"])
workflow.add_tasks(template.create_tasks(c=["true", "exit 3"]))
workflow
''',
    "result = workflow.run()",
    "result",
    "workflow",
]
notebook = new_notebook(cells=[new_code_cell(cell) for cell in cells])
notebook.metadata["kernelspec"] = {"name": "python3", "display_name": "", "language": "python"}
nbclient.NotebookClient(notebook, timeout=60, kernel_name="python3").execute()
shown = []
for cell in notebook.cells:
    texts = []
    for output in cell.outputs:
        data = output.get("data", {})
        texts.append(data.get("text/html") or data.get("text/plain") or output.get("text", ""))
    shown.append(texts)
print("SHOWN", json.dumps(shown), flush=True)
"""


def test_a_workflow_in_a_notebook(place: Place) -> None:
    """It runs, with a bar in the cell's output; workflow and result are shown as tables, names escaped."""
    kernels = place.root / ".local" / "share" / "jupyter" / "kernels" / "python3"
    kernels.mkdir(parents=True)
    kernel = {
        "argv": [sys.executable, "-m", "ipykernel_launcher", "-f", "{connection_file}"],
        "language": "python",
    }
    (kernels / "kernel.json").write_text(json.dumps({**kernel, "display_name": "test"}))
    place.configure(progress__enabled="true")
    script = place.start_python(NOTEBOOK)
    assert script.end(90) == 0, script.text
    before, running, (result,), (after,) = script.said("SHOWN")
    assert "&lt;b&gt;bold" in before[-1]
    assert "no; run() or bind() registers it" in before[-1]
    bars = [text for text in running if "<progress" in text]
    assert len(bars) == 1, running  # one bar, drawn again in place
    assert 'value="1" max="2"' in bars[0]
    assert "1 failed" in bars[0]
    assert any("exit 3" in text or "failed" in text for text in running if "<progress" not in text)
    assert "E (ERROR)" in result
    assert "jobmon workflow errors 1" in result
    assert "FATAL" in after
    assert "<b>bold" not in after + before[-1]
