"""The script that makes every public call, run as a user would; and that it leaves none out."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from jobmon.core.local_server import LocalServerFiles, stop

SCRIPT = Path(__file__).resolve().parents[2] / "examples" / "every_call.py"
CALLS = """
Tool get_new_tool_version set_active_tool_version_id active_tool_version active_task_templates tool_versions
get_task_template create_workflow set_default_cluster_name set_default_clu set_default_max_attempts
update_default_compute_resources update_default_resource_scales set_default_compute_resources_from_yaml
set_default_resource_scales_from_yaml set_default_compute_resources_from_dict
set_default_resource_scales_from_dict default_compute_resources_set default_resource_scales_set
default_cluster_name default_max_attempts get_tool_version load_task_templates task_templates
InvalidToolError InvalidToolVersionError task_template_versions active_task_template_version template_args
id_name_map arg_mapping_hash set_active_task_template_version_id set_active_task_template_version
load_task_template_versions get_task_template_version create_task create_tasks resource_usage expand_dict
get_tasks_by_node_args array_id validate is_valid_job_name command task_attributes upstream_tasks
downstream_tasks compute_resources requested_resources queue_name resource_scales fallback_queues
max_attempts task_id initial_status final_status array workflow original_task_resources add_upstream
add_upstreams add_downstream add_downstreams add_attribute get_errors update_compute_resources
update_resource_scales set_compute_resources_from_yaml validate_task_resource_scales add_node add_task
add_tasks add_attributes set_task_template_max_concurrency_limit set_max_concurrently_running bind
get_cluster_by_name run task_errors last_workflow_run_id workflow_args_hash task_hash workflow_id dag_id
is_bound TaskResources bind_async validate_resources coerce_resources adjust_resources convert_memory_to_gib
convert_runtime_to_s scale_val MemUnit TimeUnit readable get_cluster connection_parameters get_queue
get_distributor get_worker_node ClusterType task_generator serialize deserialize create_task_name
make_cli_argument_string is_optional_type get_optional_type_parameter add_task_attributes WorkflowRunFactory
set_workflow_resume create_workflow_run configure_client_logging default_config set_jobmon_context
unset_jobmon_context get_jobmon_context clear_jobmon_context bind_jobmon_context ReturnCodes
InvalidStateTransition ArgType TaskResourcesType Direction SpecialChars ExecludeTTVs MaxConcurrentlyRunning
from_defaults add_server_structlog_context send_request send_request_async workflow_status workflow_tasks
task_status update_task_status workflow_reset concurrency_limit get_filepaths task_template_resources
create_resource_yaml get_sub_task_tree get_task_dependencies validate_username validate_workflow _chunk_ids
select_tasks run_workflow resume_workflow_run OrchestratorResult WorkflowRunConfig DistributorContext
ensure_structlog_configured JobmonLoggerConfig set_default_config attach_default_handler
force_cleanup_kill_self reset_task_statuses wait_for_workflow_resume wait_for_startup_signal
derive_jobmon_command_from_env detach fail_fast seconds_until_timeout TaskGenerator serialize_array help
"""


@pytest.fixture
def environment(tmp_path: Path) -> Iterator[dict[str, str]]:
    """Of a user who never heard of Jobmon."""
    variables = {name: value for name, value in os.environ.items() if not name.startswith("JOBMON__")}
    files = LocalServerFiles(tmp_path / "jobmon")
    yield {
        **variables,
        "HOME": str(tmp_path),
        "JOBMON__EMBEDDED__DIRECTORY": str(files.directory),
        "TMPDIR": str(tmp_path),
    }
    if files.directory.exists():
        stop(files)


@pytest.mark.e2e
def test_every_call_can_be_made(environment: dict[str, str], tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-W", "error", SCRIPT],
        env=environment,
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=100,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.splitlines()[-1] == "every call was made"


def test_no_call_is_left_out() -> None:
    text = SCRIPT.read_text()
    assert [name for name in CALLS.split() if name not in text] == []
