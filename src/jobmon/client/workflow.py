"""A workflow: tasks, the dependencies between them, and the way they are run."""

from __future__ import annotations

import logging
import os
import uuid
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from jobmon.client.array import Array, check_limit
from jobmon.client.attributes import Attributes, parse_attributes
from jobmon.client.bind import (
    Requests,
    bind_workflow,
    check_identity,
    check_workflow,
    hash_of_tasks,
    send_tasks,
    send_workflow,
)
from jobmon.client.defaults import ResourceDefaults
from jobmon.client.progress import BindDisplay
from jobmon.client.result import WorkflowRunResult, errors_by_task, fetch_errors
from jobmon.client.task import Task
from jobmon.client.workflow_run import DistributorContext
from jobmon.client.yaml_file import first_key
from jobmon.core.cluster import Cluster
from jobmon.core.configuration import JobmonConfig
from jobmon.core.constants import DRY_RUN_VARIABLE, NAME_CHARACTERS, PLAN_VARIABLE, MaxConcurrentlyRunning
from jobmon.core.exceptions import DuplicateNodeArgsError, WorkflowAlreadyComplete, WorkflowAlreadyExists
from jobmon.core.hashing import hash_parts
from jobmon.core.requester import Requester
from jobmon.core.states import WORKFLOW_BEING_RUN, WorkflowStatus
from jobmon.serializers.define import AttributesRequest, AttributesResponse, WorkflowResponse
from jobmon.serializers.swarm import LimitRequest, LimitResponse

if TYPE_CHECKING:
    from jobmon.client.plan import Plan
    from jobmon.client.tool_version import ToolVersion

__all__ = ["DistributorContext", "Workflow"]

logger = logging.getLogger(__name__)


class Workflow(ResourceDefaults):
    """Tasks with dependencies; made by :meth:`Tool.create_workflow`.

    Args:
        tool_version: the tool version it belongs to, whose defaults it takes over.
        workflow_args: identifies it among the workflows of the tool; a random text when empty, so that it
            is a new one.
        name: its name.
        description: what it is for.
        workflow_attributes: names and values, or names.
        max_concurrently_running: limit of tasks running at once; 0 pauses.
        requester: how to reach the server.
        chunk_size: accepted for scripts; Jobmon chooses the size of its requests itself.

    Attributes:
        tasks: its tasks by their hashes.
        workflow_args: as given, or the random text.
        name: as given.
        description: as given.
        workflow_attributes: attributes by name; change them with :meth:`add_attributes`.
        max_concurrently_running: as given.
        last_workflow_run_id: id of the last run from this process; ``None`` before.
        task_errors: errors of the tasks that failed for good in that run, by name.

    Raises:
        ValueError: a value is not allowed.
    """

    def __init__(
        self,
        tool_version: ToolVersion,
        workflow_args: str = "",
        name: str = "",
        description: str = "",
        workflow_attributes: Attributes | None = None,
        max_concurrently_running: int = MaxConcurrentlyRunning.MAXCONCURRENTLYRUNNING,
        requester: Requester | None = None,
        chunk_size: int = 500,
    ) -> None:
        super().__init__(tool_version.default_cluster_name, tool_version.default_max_attempts)
        self._is_current = False
        self._bound_defaults: list[tuple[Any, ...]] = []
        self._workflow_id: int | None = None
        self._dag_id: int | None = None
        if len(name) > NAME_CHARACTERS:
            raise ValueError(
                f"The name of a workflow must not be longer than {NAME_CHARACTERS} characters: {name!r}."
            )
        self.tool_version = tool_version
        self.requester = requester or tool_version.requester
        self.workflow_args = str(workflow_args) if workflow_args else str(uuid.uuid4())
        self.name = name
        self.description = description
        self.workflow_attributes = parse_attributes(workflow_attributes)
        self.max_concurrently_running = check_limit(max_concurrently_running)
        self.chunk_size = chunk_size
        self.tasks: dict[str, Task] = {}
        self.last_workflow_run_id: int | None = None
        self.task_errors: dict[str, dict[str, Any]] = {}
        self._arrays: dict[int, Array] = {}
        self._clusters: dict[str, Cluster] = {}
        self._requests: Requests = {}
        self._num_previously_completed = 0
        self._num_newly_completed = 0
        self._fail_after_n_executions: int | None = None
        self._last_result: WorkflowRunResult | None = None
        self.take_defaults(
            tool_version.default_compute_resources_set, tool_version.default_resource_scales_set
        )

    # -- identity -----------------------------------------------------------------------------------
    @property
    def workflow_args_hash(self) -> str:
        """Hash of the workflow_args."""
        return hash_parts([self.workflow_args])

    @property
    def task_hash(self) -> str:
        """Identity of its tasks, whatever their order."""
        return hash_of_tasks(self.tasks)

    @property
    def workflow_id(self) -> int:
        """Id in the database.

        Raises:
            AttributeError: it is not bound.
        """
        if self._workflow_id is None:
            raise AttributeError("The workflow has no id yet; call bind() or run() first.")
        return self._workflow_id

    @property
    def dag_id(self) -> int:
        """Id of its graph in the database.

        Raises:
            AttributeError: it is not bound.
        """
        if self._dag_id is None:
            raise AttributeError("The workflow has no graph in the database yet; call bind() or run() first.")
        return self._dag_id

    @property
    def is_bound(self) -> bool:
        """Whether it was registered."""
        return self._workflow_id is not None

    @property
    def arrays(self) -> dict[str, Array]:
        """Its arrays by the names of their templates (with the version where there are several of one)."""
        named: dict[str, Array] = {}
        for version_id, array in self._arrays.items():
            name = array.task_template_version.task_template.template_name
            named[f"{name}:{version_id}" if name in named else name] = array
        return named

    def __repr__(self) -> str:
        return f"Workflow(workflow_args='{self.workflow_args}', name='{self.name}', {len(self.tasks)} tasks)"

    def _repr_html_(self) -> str:
        """The workflow as notebooks show it."""
        from jobmon.client.notebook import workflow_html

        return workflow_html(self)

    def _changed(self) -> None:
        self._is_current = False

    # -- tasks --------------------------------------------------------------------------------------
    def add_task(self, task: Task) -> Task:
        """Add a task; the task itself.

        Raises:
            ValueError: it is here already, or belongs to another workflow.
            DuplicateNodeArgsError: another task has the same template and node args.
        """
        key = task.task_hash
        if key in self.tasks:
            raise ValueError(
                f"{task} was added already: a task of "
                f"'{task.node.task_template_version.task_template.template_name}' "
                "with the same node args and task args."
            )
        array = self._array_for(task)
        occupant = array.find(task.node)
        if occupant is not task:
            if occupant is not None and self.tasks.get(occupant.task_hash) is occupant:
                raise DuplicateNodeArgsError(
                    f"{task} has the same task template and node args as {occupant}, which was added "
                    "already; "
                    "what tells them apart must be a node arg."
                )
            if task._array is not None and task._array is not array:
                array.merge(task._array)
                task._array._workflow = self
            array.take_over(task)
        self._arrays[task.node.task_template_version.id] = array
        array._workflow = self
        self.tasks[key] = task
        self._is_current = False
        return task

    def _array_for(self, task: Task) -> Array:
        version = task.node.task_template_version
        own, present = task._array, self._arrays.get(version.id)
        if own is not None and own._workflow is not None and own._workflow is not self:
            raise ValueError(f"{task} belongs to another workflow; make a new task for this one.")
        return present or own or Array.inferred(version)

    def add_tasks(self, tasks: Iterable[Task]) -> None:
        """Add tasks; errors are those of :meth:`add_task`."""
        for task in tasks:
            self.add_task(task)

    def get_tasks_by_node_args(self, task_template_name: str, **kwargs: Any) -> list[Task]:
        """Tasks of a template whose node args have these values, or one of them where several are given.

        Raises:
            ValueError: it has no tasks of that template, or an arg is no node arg of any version of it.
        """
        arrays = self._arrays_of(task_template_name)
        if not arrays:
            raise ValueError(
                f"The workflow has no tasks of '{task_template_name}'. Its templates: "
                f"{', '.join(self.arrays) or 'none'}."
            )
        fitting = [each for each in arrays if each.task_template_version.node_args.issuperset(kwargs)]
        found = [task for each in fitting or arrays for task in each.get_tasks_by_node_args(**kwargs)]
        return [task for task in found if self.tasks.get(task.task_hash) is task]

    def _arrays_of(self, task_template_name: str) -> list[Array]:
        return [
            array
            for array in self._arrays.values()
            if array.task_template_version.task_template.template_name == task_template_name
        ]

    # -- limits, attributes, defaults ---------------------------------------------------------------
    def set_task_template_max_concurrency_limit(self, task_template_name: str, limit: int) -> None:
        """Limit the tasks of a template that run at once, also while the workflow runs; 0 pauses.

        Raises:
            KeyError: it has no tasks of that template.
            ValueError: the limit is not a whole number from 0.
        """
        arrays = self._arrays_of(task_template_name)
        if not arrays:
            raise KeyError(
                f"The workflow has no tasks of '{task_template_name}'. Its templates: "
                f"{', '.join(self.arrays) or 'none'}."
            )
        for array in arrays:
            array.max_concurrently_running = check_limit(limit)
            if self._workflow_id is not None:
                message = LimitRequest(array.max_concurrently_running, array.task_template_version.id)
                self.requester.send(
                    "PUT", f"/swarm/workflow/{self._workflow_id}/limit", message, LimitResponse
                )

    def set_max_concurrently_running(self, task_template_name: str, max_concurrently_running: int) -> None:
        """The same as :meth:`set_task_template_max_concurrency_limit`."""
        self.set_task_template_max_concurrency_limit(task_template_name, max_concurrently_running)

    def add_attributes(self, workflow_attributes: Attributes) -> None:
        """Add attributes, or change those there are; on the server too when the workflow is bound.

        Raises:
            ValueError: they are neither a dictionary nor a list, or too long.
        """
        parsed = parse_attributes(workflow_attributes)
        self.workflow_attributes.update(parsed)
        if self._workflow_id is not None:
            path = f"/define/workflow/{self._workflow_id}/attributes"
            self.requester.send("PUT", path, AttributesRequest(parsed), AttributesResponse)

    def set_default_compute_resources_from_dict(
        self, cluster_name: str, dictionary: Mapping[str, Any]
    ) -> None:
        """Replace the default resources of a cluster; it becomes the default cluster where there is none."""
        super().set_default_compute_resources_from_dict(cluster_name, dictionary)

    def set_default_resource_scales_from_dict(self, cluster_name: str, dictionary: Mapping[str, Any]) -> None:
        """Replace the default scales of a cluster, which becomes the default cluster where there is none."""
        super().set_default_resource_scales_from_dict(cluster_name, dictionary)

    def set_default_compute_resources_from_yaml(self, cluster_name: str, yaml_file: str) -> None:
        """Read default resources by cluster from a YAML file: ``workflow_resources``, else ``tool_resources``.

        Raises:
            KeyError: the file has neither of these keys.
            ValueError: the file is malformed.
        """
        self.take_resources_from_yaml(yaml_file, first_key(yaml_file, "workflow_resources", "tool_resources"))
        self.set_default_cluster_name(cluster_name)

    def set_default_resource_scales_from_yaml(self, cluster_name: str, yaml_file: str) -> None:
        """Read default scales by cluster from a YAML file: ``workflow_scales``, else ``tool_scales``.

        Raises:
            KeyError: the file has neither of these keys.
            ValueError: the file is malformed, or a scale is not a number.
        """
        self.take_scales_from_yaml(yaml_file, first_key(yaml_file, "workflow_scales", "tool_scales"))
        self.set_default_cluster_name(cluster_name)

    def get_cluster_by_name(self, cluster_name: str) -> Cluster:
        """A cluster, read from the server once.

        Raises:
            UnknownClusterError: there is none of that name; the message lists those there are.
        """
        if cluster_name not in self._clusters:
            self._clusters[cluster_name] = Cluster.get_cluster(cluster_name, self.requester)
        return self._clusters[cluster_name]

    # -- checking, registering, running -------------------------------------------------------------
    def validate(self, strict: bool = True, raise_on_error: bool = False) -> None:
        """Check graph, resources and identity; nothing is registered.

        Args:
            strict: resources beyond the limits of their queue are invalid.
            raise_on_error: raise for invalid resources; otherwise they will be brought into the limits.

        Raises:
            EmptyWorkflowError, NodeDependencyNotExistError, CyclicGraphError: the graph cannot be run.
            UnknownClusterError, UnknownQueueError, ValueError: the resources cannot be had.
            RuntimeError: its tasks are to run on several clusters.
            WorkflowAlreadyExists: another workflow has these workflow_args.
        """
        dag, _ = check_workflow(self, strict, raise_on_error)
        check_identity(self, dag.dag_hash, self.task_hash)

    def plan(self) -> Plan:
        """What ``run()`` would do now: which tasks and why, what they ask for, how long it takes. Print it.

        Nothing is registered; what would keep ``run()`` from running stands in ``problems``.
        """
        from jobmon.client.commands.plan import plan_workflow

        return plan_workflow(self)

    def bind(self) -> None:
        """Register it with all of its tasks, unless that was done; errors are those of :meth:`validate`."""
        self.refresh(JobmonConfig().get_boolean("progress", "enabled"))

    def refresh(self, is_shown: bool = True) -> WorkflowResponse:
        """Register what is not registered yet; the state of the workflow on the server.

        Args:
            is_shown: say how far it is when it takes long.
        """
        if plan_file := os.environ.get(PLAN_VARIABLE):  # the script was started by `jobmon workflow plan`
            from jobmon.client.commands.plan import end_with_plan

            end_with_plan(self, plan_file)
        if preview_file := os.environ.get(DRY_RUN_VARIABLE):  # by `jobmon workflow submit --dry-run`
            from jobmon.client.commands.submit import end_with_preview

            end_with_preview(self, preview_file)
        defaults = self._defaults_in_force()
        if self._is_current and self._workflow_id is not None and defaults == self._bound_defaults:
            return send_workflow(self, self.dag_id, self.task_hash)
        display = BindDisplay(2 * len(self.tasks), is_shown)
        bound = bind_workflow(self, display.advance)
        self._workflow_id, self._dag_id, self._requests = bound.response.id, bound.dag_id, bound.requests
        self._is_current, self._bound_defaults = True, defaults
        return bound.response

    def _defaults_in_force(self) -> list[tuple[Any, ...]]:
        templates = [array.task_template_version.task_template for array in self._arrays.values()]
        return [level.snapshot() for level in (self, *dict.fromkeys(templates))]

    def update_tasks(self) -> None:
        """Give the registered tasks the commands, limits and resources of the script once more.

        Registration leaves tasks alone while a run is alive; on a resume their turn comes when that run has ended.
        """
        send_tasks(self, self.workflow_id, self._requests, lambda _what, _count: None)

    def run(
        self,
        fail_fast: bool = False,
        seconds_until_timeout: float = 36000,
        resume: bool = False,
        reset_running_jobs: bool = True,
        distributor_startup_timeout: float = 180,
        resume_timeout: float = 300,
        configure_logging: bool = False,
        detach: bool = False,
        on: str = "",
        on_resources: Mapping[str, Any] | None = None,
        notify: str | Iterable[str] | None = None,
    ) -> WorkflowRunResult:
        """Run every task whose upstreams are done until all are done or nothing more can be.

        Args:
            fail_fast: end at the first task that fails for good.
            seconds_until_timeout: end after so many seconds.
            resume: go on with this workflow if it was run before.
            reset_running_jobs: on resume kill what still runs; false adopts it where the cluster allows.
            distributor_startup_timeout: seconds the process of a detached run has to come up; without ``detach``
                nothing has to.
            resume_timeout: seconds an earlier run has to hand over.
            configure_logging: show the logs of Jobmon.
            detach: return as soon as the run goes on in a process of its own, which outlives this one and the
                terminal; ``wait()`` of the result waits for its end, ``jobmon workflow attach ID`` shows it.
            on: with ``detach``: name of a batch cluster; that process is a job there, which is started anew where its node
                fails. A job that still waits in its queue after ``distributor_startup_timeout`` is left there.
            on_resources: what that job asks for: ``queue``, ``memory`` (1 GiB), ``runtime`` (a little more than
                ``seconds_until_timeout``), ``project``.
            notify: whom the server is to tell of the end of this run, however it ends: ``"#channel"`` or ``"@user"`` of
                Slack, ``"mail:me@example.org"``, ``"https://…"``, or several of them in a list. By default those of
                ``notify.on_end``; ``""``: nobody.

        Returns:
            The status letter of the run, ``"D"`` where every task is done, with counts, ids and statuses as
            attributes. It is ``"E"`` as well when a function of the script, such as a compute_resources_callable,
            raised an error: that is logged with its traceback, and stands in ``error``.

        Raises:
            WorkflowAlreadyComplete: every task is done already.
            WorkflowAlreadyExists: it was run before and ``resume`` is false, or its args belong to another
                workflow.
            WorkflowNotResumable: another run of it is alive.
            WorkflowTimeoutError: (a RuntimeError) it took too long; the message says what still ran.
            ServerError: the server is out of reach for good; the message says what is known.
            UsageError: it cannot be detached, since tasks need functions of this script; the message names one. Or
                ``notify`` names somebody whom the server cannot tell.
            KeyboardInterrupt: it was stopped by Ctrl-C.
        """
        from jobmon.client.detached import job_options
        from jobmon.client.notify import tellable_targets, wanted_targets
        from jobmon.client.run import RunRequest, run_workflow

        if configure_logging:
            from jobmon.client.logging import configure_client_logging

            configure_client_logging()
        if seconds_until_timeout <= 0:
            raise ValueError(f"seconds_until_timeout must be more than 0, not {seconds_until_timeout!r}.")
        config = JobmonConfig()
        asked = wanted_targets(notify, config)
        state = self.refresh(config.get_boolean("progress", "enabled"))
        self._check_runnable(state, resume)
        request = RunRequest(
            fail_fast=fail_fast,
            seconds_until_timeout=seconds_until_timeout,
            resume=resume and state.has_run,
            reset_running_jobs=reset_running_jobs,
            resume_timeout=resume_timeout,
            was_being_run=state.status in WORKFLOW_BEING_RUN,
            detach=detach,
            startup_timeout=distributor_startup_timeout,
            job=job_options(detach, on, on_resources),
            notify=tellable_targets(self.requester, asked),
        )
        return run_workflow(self, request, config)

    def stop(self, drain: bool = False, timeout: float | None = None) -> str:
        """End its run, wherever that goes on; what was done, in words.

        Args:
            drain: let running tasks finish and start no more, instead of killing them.
            timeout: seconds to wait for the end; by default 60, and as long as it takes when draining.

        Raises:
            WorkflowNotResumable, WorkflowTimeoutError: it goes on after that time.
        """
        from jobmon.client.commands.run import stop_workflow

        return stop_workflow(self.workflow_id, timeout, self.requester, drain=drain)

    def _check_runnable(self, state: WorkflowResponse, resume: bool) -> None:
        which = f"Workflow {state.id}" + (f" '{self.name}'" if self.name else "")
        if state.status == WorkflowStatus.DONE:
            raise WorkflowAlreadyComplete(
                f"{which} is complete already: all of its {len(self.tasks)} tasks are done. For a new "
                "workflow use other "
                f"workflow_args than '{self.workflow_args}'. To look at it: jobmon workflow status -w "
                f"{state.id}"
            )
        if state.has_run and not resume:
            what = (
                "is being run now"
                if state.status in WORKFLOW_BEING_RUN
                else "was run before and is not complete"
            )
            raise WorkflowAlreadyExists(
                f"{which} {what}. To go on with what is not done call "
                "run(resume=True); for a "
                f"new workflow use other workflow_args than '{self.workflow_args}'."
            )
        if resume and not state.has_run:
            logger.warning("resume=True: %s was never run before; it starts from the beginning.", which)

    def get_errors(self, limit: int = 1000) -> dict[int, dict[str, Any]]:
        """Errors of its tasks by task id, those of the latest failed attempt each.

        Args:
            limit: read at most so many errors.
        """
        return errors_by_task(fetch_errors(self.requester, self.workflow_id, limit))
