"""Functions for scripts and notebooks that look at workflows and tasks, or change them by hand."""

from jobmon.client.commands.config import update_config_value
from jobmon.client.commands.explain import explain_task
from jobmon.client.commands.failures import workflow_errors
from jobmon.client.commands.report import workflow_trace
from jobmon.client.commands.resources import (
    _create_yaml,
    _get_yaml_data,
    create_resource_yaml,
    task_template_resources,
)
from jobmon.client.commands.resume import resume_workflow_from_id
from jobmon.client.commands.select import select_tasks
from jobmon.client.commands.task import (
    get_sub_task_tree,
    get_task_dependencies,
    task_status,
    update_task_status,
)
from jobmon.client.commands.validation import _chunk_ids, chunk_ids, validate_username, validate_workflow
from jobmon.client.commands.workflow import (
    concurrency_limit,
    get_filepaths,
    stop_workflow,
    workflow_reset,
    workflow_status,
    workflow_tasks,
)

__all__ = [
    "_chunk_ids",
    "_create_yaml",
    "_get_yaml_data",
    "chunk_ids",
    "concurrency_limit",
    "create_resource_yaml",
    "explain_task",
    "get_filepaths",
    "get_sub_task_tree",
    "get_task_dependencies",
    "resume_workflow_from_id",
    "select_tasks",
    "stop_workflow",
    "task_status",
    "task_template_resources",
    "update_config_value",
    "update_task_status",
    "validate_username",
    "validate_workflow",
    "workflow_errors",
    "workflow_reset",
    "workflow_status",
    "workflow_tasks",
    "workflow_trace",
]
