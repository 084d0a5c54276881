"""Functions for scripts and notebooks that look at workflows and tasks, or change them by hand."""

from jobmon.client.commands.config import update_config_value
from jobmon.client.commands.resume import resume_workflow_from_id
from jobmon.client.commands.task import get_task_dependencies, task_status, update_task_status
from jobmon.client.commands.validation import chunk_ids, validate_username, validate_workflow
from jobmon.client.commands.workflow import (
    concurrency_limit,
    get_filepaths,
    stop_workflow,
    workflow_reset,
    workflow_status,
    workflow_tasks,
)

__all__ = [
    "chunk_ids",
    "concurrency_limit",
    "get_filepaths",
    "get_task_dependencies",
    "resume_workflow_from_id",
    "stop_workflow",
    "task_status",
    "update_config_value",
    "update_task_status",
    "validate_username",
    "validate_workflow",
    "workflow_reset",
    "workflow_status",
    "workflow_tasks",
]
