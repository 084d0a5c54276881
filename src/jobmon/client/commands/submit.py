"""What a script would submit: shown without submitting anything, or carried out."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, NoReturn

import msgspec
from msgspec import Struct

from jobmon.client.bind import Requests
from jobmon.client.commands.plan import Outlook, look_ahead
from jobmon.client.commands.script import answer_of_script, end_with_answer, script_command
from jobmon.core.batch_cluster import BatchJob
from jobmon.core.cluster_protocol import ClusterDistributor, ClusterQueue
from jobmon.core.configuration import JobmonConfig
from jobmon.core.constants import DRY_RUN_VARIABLE
from jobmon.core.exceptions import ClusterError, UsageError
from jobmon.core.words import counted, describe_resources
from jobmon.distributor.batch_file import wrapper_words
from jobmon.distributor.shared_directory import SharedDirectory
from jobmon.distributor.sharing import share_jobs
from jobmon.distributor.submission import job_name, shared_resources
from jobmon.distributor.submitting import MAX_BATCH
from jobmon.serializers.plan import PlanReason

if TYPE_CHECKING:
    from pathlib import Path

    from jobmon.client.task import Task
    from jobmon.client.task_resources import TaskResources
    from jobmon.client.workflow import Workflow

PLACEHOLDER_KEY = "WORKFLOW.RUN"
"""Stands in names of jobs for the part that only a run knows."""


class TaskSetPreview(Struct):
    """Tasks of one template that ask for the same.

    Attributes:
        template: its name.
        cluster, queue: where they go.
        resources: what each asks for.
        num_tasks: how many.
        num_batches: job arrays they are submitted as; 0 where the controller runs them itself, or while they wait.
        tasks_per_job: most of them that one job runs, one after the other.
        first_task: name of the first one.
        first_command: its command.
        script: what is handed to the cluster for the first batch; empty where there is no batch.
    """

    template: str
    cluster: str
    queue: str
    resources: dict[str, Any]
    num_tasks: int
    num_batches: int = 0
    first_task: str = ""
    first_command: str = ""
    script: str = ""
    tasks_per_job: int = 1


class SubmissionPreview(Struct):
    """What the first turn of a run would submit.

    Attributes:
        workflow: its name.
        workflow_id: that of the registered workflow of the same workflow_args; null where it is new.
        num_tasks: all of its tasks.
        num_done: those that are done and are left alone.
        ready: what is submitted at once.
        waiting: what waits for other tasks.
        problems: what ``run()`` would change or refuse.
    """

    workflow: str
    workflow_id: int | None
    num_tasks: int
    num_done: int
    ready: list[TaskSetPreview]
    waiting: list[TaskSetPreview]
    problems: list[str]


# -- of a workflow in this process --------------------------------------------------------------------
def preview_workflow(workflow: Workflow, config: JobmonConfig | None = None) -> SubmissionPreview:
    """What ``workflow.run()`` would submit first; nothing is registered or submitted.

    Args:
        workflow: registered or not.
        config: the configuration.
    """
    outlook = look_ahead(workflow)
    tasks = list(workflow.tasks.values())
    ready, waiting = _ready_and_waiting(outlook)
    describe = _Describing(workflow, outlook.match.workflow_id or 0, config or JobmonConfig())
    sound = outlook.requests
    return SubmissionPreview(
        workflow.name,
        outlook.match.workflow_id,
        len(tasks),
        sum(reason is PlanReason.DONE for reason in outlook.columns.reasons),
        [describe.ready(members, sound) for members in _sets(tasks, ready, sound)] if sound else [],
        [describe.waiting(members, sound) for members in _sets(tasks, waiting, sound)] if sound else [],
        outlook.problems,
    )


def _ready_and_waiting(outlook: Outlook) -> tuple[list[int], list[int]]:
    """Positions of the tasks that may begin at once, and of those that wait for others."""
    reasons = outlook.columns.reasons
    ready: list[int] = []
    waiting: list[int] = []
    for place, upstreams in enumerate(outlook.upstreams):
        if reasons[place] is not PlanReason.DONE:
            is_ready = all(reasons[above] is PlanReason.DONE for above in upstreams)
            (ready if is_ready else waiting).append(place)
    return ready, waiting


def _sets(tasks: Sequence[Task], places: Sequence[int], requests: Requests) -> Iterator[list[Task]]:
    """Tasks of the same template that ask for the same, in the order in which the first of each comes."""
    asked = {key: (request.cluster_name, request.resources) for key, request in requests.items()}
    sets: dict[tuple[int, tuple[str, TaskResources]], list[Task]] = {}
    of_key: dict[
        tuple[int, int], list[Task]
    ] = {}  # resources are compared once for all tasks that share them
    for place in places:
        task = tasks[place]
        key = (id(task._array), id(task._settings))
        if key not in of_key:
            of_key[key] = sets.setdefault((id(task._array), asked[key]), [])
        of_key[key].append(task)
    yield from sets.values()


class _Describing:
    """Describes sets of tasks as their cluster would get them."""

    def __init__(self, workflow: Workflow, workflow_id: int, config: JobmonConfig) -> None:
        self._workflow, self._config = workflow, config
        self._shared = SharedDirectory.from_config(config, workflow_id)
        self._plugins: dict[str, ClusterDistributor] = {}

    def waiting(self, members: Sequence[Task], requests: Requests) -> TaskSetPreview:
        """Tasks that are not submitted yet."""
        first = members[0]
        request = requests[id(first._array), id(first._settings)]
        return TaskSetPreview(
            first.array.name,
            request.cluster_name,
            request.resources.queue.queue_name,
            dict(request.resources.requested_resources),
            len(members),
            first_task=first.name,
            first_command=first.command,
        )

    def ready(self, members: Sequence[Task], requests: Requests) -> TaskSetPreview:
        """Tasks that are submitted at once."""
        shown = self.waiting(members, requests)
        plugin = self._plugin(shown.cluster)
        if plugin.capabilities.runs_commands:
            return shown
        most = _array_limit(plugin)
        shown.num_batches = -(-len(members) // most)
        limit = min(self._workflow.max_concurrently_running, members[0].array.max_concurrently_running)
        asked = requests[id(members[0]._array), id(members[0]._settings)].resources
        sizes = self._sizes(shown, asked.queue, min(most, len(members)))
        shown.tasks_per_job = max(sizes)
        shown.script = plugin.describe_batch(self._job(shown, sizes, limit))
        return shown

    def _sizes(self, shown: TaskSetPreview, queue: ClusterQueue, num_tasks: int) -> tuple[int, ...]:
        """How many tasks each job of a batch runs."""
        jobs = share_jobs(
            [False] * num_tasks,
            float(shown.resources.get("runtime") or 0),
            self._config.get_float("distributor", "shared_job_seconds"),
            queue.longest_shared_seconds(shown.resources),
        )
        return tuple(map(len, jobs))

    def _plugin(self, cluster: str) -> ClusterDistributor:
        if cluster not in self._plugins:
            self._plugins[cluster] = self._workflow.get_cluster_by_name(cluster).get_distributor()
        return self._plugins[cluster]

    def _job(self, shown: TaskSetPreview, sizes: tuple[int, ...], limit: int) -> BatchJob:
        name = job_name(shown.template, 1, PLACEHOLDER_KEY)
        batch_file = self._shared.batches / f"{name}.batch"
        resources = {
            "working_dir": os.getcwd(),
            **{key: value for key, value in shown.resources.items() if value is not None},
            "queue": shown.queue,
        }
        return BatchJob(
            name=name,
            array_id=0,
            batch_num=1,
            task_instance_ids=tuple(range(1, sum(sizes) + 1)),
            batch_file=batch_file,
            wrapper=wrapper_words(batch_file, self._config),
            requested_resources=shared_resources(resources, max(sizes)),
            log_directory=self._shared.cluster_logs,
            max_running=limit if limit < sum(sizes) else 0,
            sizes=sizes,
        )


def _array_limit(plugin: ClusterDistributor) -> int:
    try:
        return max(1, min(MAX_BATCH, plugin.array_limit))
    except ClusterError:
        return MAX_BATCH  # it does not answer now; the run will ask again


# -- of a script --------------------------------------------------------------------------------------
def preview_script(script: str | Path, arguments: Sequence[str] = ()) -> SubmissionPreview:
    """What the first ``run()`` of a script would submit; what stands before that call is carried out.

    Args:
        script: a Python file, or something else that can be executed.
        arguments: its arguments.

    Raises:
        UsageError: there is no such file, it failed, or it never came to ``run()``; the message says which.
    """
    usage = "jobmon workflow submit --dry-run"
    answer = answer_of_script(script, arguments, DRY_RUN_VARIABLE, usage)
    return msgspec.json.decode(answer, type=SubmissionPreview)


def end_with_preview(workflow: Workflow, path: str) -> NoReturn:
    """Write what a workflow would submit to a file, unless an earlier answer stands there, and end the script.

    Raises:
        AnswerWritten: always.
    """
    end_with_answer(path, lambda: msgspec.json.encode(preview_workflow(workflow)))


def run_script(script: str | Path, arguments: Sequence[str] = ()) -> int:
    """Run a script to its end; its exit code (128 and the number of the signal, where one ended it).

    Raises:
        UsageError: there is no such file.
    """
    returncode = subprocess.run([*script_command(script), *arguments], check=False).returncode
    return returncode if returncode >= 0 else 128 - returncode


def require_submittable(preview: SubmissionPreview) -> None:
    """Refuse a preview of a workflow that ``run()`` would refuse.

    Raises:
        UsageError: nothing would be submitted; with the reasons.
    """
    if preview.problems and not (preview.ready or preview.waiting):
        raise UsageError(" ".join(preview.problems))


# -- words --------------------------------------------------------------------------------------------
def preview_text(preview: SubmissionPreview) -> str:
    """A preview for people."""
    parts = [_heading(preview), *(f"Problem: {problem}" for problem in preview.problems)]
    parts += [_of_ready(each) for each in preview.ready]
    if preview.workflow_id is None and any(each.script for each in preview.ready):
        parts.append(
            f"In the scripts {PLACEHOLDER_KEY} and workflow_0 stand for what the run will be called."
        )
    if preview.waiting:
        lines = [f"  {_set_words(each)}" for each in preview.waiting]
        parts.append("\n".join(["Submitted later, when the tasks they wait for are done:", *lines]))
    return "\n\n".join(parts)


def _heading(preview: SubmissionPreview) -> str:
    at_once = sum(each.num_tasks for each in preview.ready)
    later = sum(each.num_tasks for each in preview.waiting)
    which = "" if preview.workflow_id is None else f" {preview.workflow_id}"
    return (
        f"Dry run: nothing was registered or submitted. Workflow{which} '{preview.workflow}' has "
        f"{counted(preview.num_tasks, 'task')}: {at_once} to submit at once, {later} later, {preview.num_done} done."
    )


def _of_ready(each: TaskSetPreview) -> str:
    head = f"== {_set_words(each)}"
    if not each.num_batches:
        return f"{head}\n{each.first_task} runs here: {each.first_command}"
    first = "the first of them:" if each.num_batches > 1 else "this:"
    shared = (
        f", whose jobs run {each.tasks_per_job} tasks one after the other" if each.tasks_per_job > 1 else ""
    )
    return (
        f"{head}\nAs {counted(each.num_batches, 'job array')}{shared}, {first} (its step 1 is {each.first_task}: "
        f"{each.first_command})\n\n{each.script.rstrip()}"
    )


def _set_words(each: TaskSetPreview) -> str:
    asked = describe_resources(each.resources)
    where = f"{each.cluster}, queue {each.queue}"
    return f"{each.template}: {counted(each.num_tasks, 'task')} on {where}" + (f"; {asked}" if asked else "")
