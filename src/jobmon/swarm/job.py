"""A controller as a job of a batch cluster: submitting it, and waiting until it works.

The run is created first, for a job that bears a name no other has, and lives as long as the job may wait in the queue: nobody
else can run the workflow meanwhile. Who ends such a run before it began withdraws the job as well.
"""

from __future__ import annotations

import logging
import os
import shlex
import sys
import time
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from jobmon.core import __version__
from jobmon.core.batch_cluster import BatchJob
from jobmon.core.cluster import Cluster
from jobmon.core.cluster_protocol import ClusterDistributor, ClusterQueue
from jobmon.core.configuration import JobmonConfig
from jobmon.core.configuration_keys import ENV_PREFIX
from jobmon.core.exceptions import (
    ClusterUnreachable,
    DistributorStartupTimeout,
    DistributorUnexpected,
    JobmonError,
    SubmissionError,
    UsageError,
)
from jobmon.core.local_server import LocalServerFiles, environment_of_daemons
from jobmon.core.process_identity import ProcessIdentity
from jobmon.core.requester import Requester, current_user
from jobmon.core.resources import memory_to_gib, runtime_to_seconds
from jobmon.core.states import WorkflowRunEvent
from jobmon.core.words import describe_duration
from jobmon.distributor.node_access import controller_address
from jobmon.distributor.private_file import write_private
from jobmon.distributor.shared_directory import PRIVATE, SharedDirectory
from jobmon.distributor.submission import job_name
from jobmon.serializers.swarm import WorkflowRunRequest, WorkflowRunResponse
from jobmon.swarm.controller import RunOptions
from jobmon.swarm.gateway import Gateway
from jobmon.swarm.host import LOG_NAME, REQUEST_OPTION, HostRequest, error_of, tail_of
from jobmon.swarm.job_host import Phase, read_answer

logger = logging.getLogger(__name__)

QUEUE_SECONDS = 7 * 86400.0
"""How long the run of a job that waits in the queue counts as alive without a sign of life."""
MEMORY_GIB = 1
RUNTIME_MARGIN_SECONDS = 600
POLL_SECONDS = 0.2
LOOK_SECONDS = 2.0
FIND_SECONDS = 60.0
_UNSEEN_LOOKS = 3
_ARRAY_NAME = "jobmon-controller"


@dataclass(frozen=True)
class JobOptions:
    """What the job of a controller asks for.

    Attributes:
        cluster_name: a batch cluster.
        queue: where it runs there; empty: where the cluster prefers.
        memory: with a unit, or GiB.
        runtime: with a unit, or seconds; empty: what the run may take.
        project: who is charged.
    """

    cluster_name: str
    queue: str = ""
    memory: str = ""
    runtime: str = ""
    project: str = ""


@dataclass(frozen=True)
class StartedJob:
    """A job that hosts a run, or will.

    Attributes:
        workflow_run_id: the run.
        log: the controller's log.
        place: which job it is, for people.
        waits_for: what the cluster says it waits for; empty once it works.
    """

    workflow_run_id: int
    log: Path
    place: str
    waits_for: str = ""


class WaitingJob(NamedTuple):
    """A job that a run was created for, and that has not begun."""

    cluster_name: str
    job_name: str

    @property
    def identity(self) -> ProcessIdentity:
        """What stands for the process that does not exist yet; nobody can take it for a live or a dead one."""
        return ProcessIdentity("/".join(self), "", 0, 0)


def waiting_job(controller: ProcessIdentity | None) -> WaitingJob | None:
    """The job a run waits for; ``None`` when a process hosts it."""
    if controller is None or controller.pid or controller.domain:
        return None
    cluster_name, slash, name = controller.hostname.rpartition("/")
    return WaitingJob(cluster_name, name) if slash else None


def withdraw(requester: Requester, controller: ProcessIdentity | None) -> bool:
    """Cancel the job a run waits for, as far as its cluster can be reached; whether there is one."""
    waiting = waiting_job(controller)
    if waiting is None:
        return False
    try:
        plugin = Cluster.get_cluster(waiting.cluster_name, requester).get_distributor()
        found = plugin.find_batch(waiting.job_name, 1)
        plugin.cancel(dict.fromkeys(found.values(), waiting.job_name))
    except JobmonError as error:
        # it will find its run ended, should it ever start
        logger.warning(
            "job %s on %s could not be cancelled: %s", waiting.job_name, waiting.cluster_name, error
        )
    return True


# -- starting -----------------------------------------------------------------------------------------
def start_job(
    requester: Requester,
    workflow_id: int,
    options: RunOptions,
    wanted: JobOptions,
    config: JobmonConfig,
    timeout_seconds: float,
) -> StartedJob:
    """Create a run, submit the job that is to host it, and wait a while until that works.

    A job that still waits in the queue then is left there; the run begins when it starts.

    Raises:
        UsageError: the cluster takes no such job, or the server cannot be reached from there; nothing was submitted.
        ClusterUnreachable, ClusterBusy, SubmissionError: the cluster did not take the job.
        DistributorStartupTimeout: it runs, but does not work.
        DistributorUnexpected: it ended without a word.
        JobmonError: the error the job met.
    """
    cluster = Cluster.get_cluster(wanted.cluster_name, requester)
    plugin = cluster.get_distributor()
    if plugin.capabilities.runs_commands:
        raise UsageError(
            f"Cluster '{wanted.cluster_name}' takes no jobs, it runs commands inside the controller. Name a batch "
            "cluster, or leave --on out to have the controller on this machine."
        )
    queue = cluster.get_queue(wanted.queue)
    key = Gateway(requester, workflow_id).metadata().key
    shared = SharedDirectory.from_config(config, workflow_id, key)
    shared.prepare()
    resources = resources_of(wanted, queue, options.seconds_until_timeout, str(shared.root))
    plugin.start()
    try:
        address = controller_address(config, requester, plugin.node_addresses())
        request = HostRequest(workflow_id, 0, options, environment=_environment(config, address is None))
        if address is not None:
            request.url, request.token = address.url, address.token
        waiting, gateway = _create_run(requester, workflow_id, wanted.cluster_name, options.notify)
        try:
            return _submit_and_wait(plugin, gateway, waiting, request, resources, shared, timeout_seconds)
        except BaseException as error:
            _give_up(gateway, error)
            raise
    finally:
        plugin.stop()


def resources_of(
    wanted: JobOptions, queue: ClusterQueue, seconds_until_timeout: float, working_dir: str
) -> dict[str, Any]:
    """What the job asks of the cluster: what was said must fit the queue, the rest is brought into its limits.

    Raises:
        UsageError: what was said does not fit, or is no amount.
    """
    said: dict[str, Any] = {}
    if wanted.memory:
        said["memory"] = memory_to_gib(wanted.memory)
    if wanted.runtime:
        said["runtime"] = runtime_to_seconds(wanted.runtime)
    if wanted.project:
        said["project"] = wanted.project
    fits, why = queue.validate_resources(strict=True, queue=queue.queue_name, **said)
    if not fits:
        raise UsageError(f"The job of the controller: {why}")
    usual = {"cores": 1, "memory": MEMORY_GIB, "runtime": int(seconds_until_timeout) + RUNTIME_MARGIN_SECONDS}
    resources = queue.coerce_resources(**{"queue": queue.queue_name, **usual, **said})
    return {**resources, "queue": queue.queue_name, "working_dir": working_dir, "requeue": True}


def _environment(config: JobmonConfig, is_local: bool) -> dict[str, str]:
    """The configuration that applies here, as variables; with what is relative to here made absolute."""
    environment = {k: v for k, v in environment_of_daemons(config).items() if k.startswith(ENV_PREFIX)}
    shared = SharedDirectory.from_config(config, 0).base
    environment[f"{ENV_PREFIX}DISTRIBUTOR__SHARED_DIRECTORY"] = str(shared)
    if is_local:
        files = LocalServerFiles.from_config(config)
        environment[f"{ENV_PREFIX}EMBEDDED__DIRECTORY"] = str(files.directory)
    return environment


def _create_run(
    requester: Requester, workflow_id: int, cluster_name: str, notify: Sequence[str]
) -> tuple[WaitingJob, Gateway]:
    key = uuid.uuid4().hex
    waiting = WaitingJob(cluster_name, job_name(_ARRAY_NAME, workflow_id, key[:12]))
    message = WorkflowRunRequest(
        key, current_user(), __version__, waiting.identity, QUEUE_SECONDS, list(notify)
    )
    gateway = Gateway(requester, workflow_id)
    path = f"/swarm/workflow/{workflow_id}/workflow_run"
    gateway.workflow_run_id = requester.send("POST", path, message, WorkflowRunResponse).workflow_run_id
    return waiting, gateway


def _give_up(gateway: Gateway, error: BaseException) -> None:
    """End a run nobody will work on."""
    for event in (WorkflowRunEvent.ABORT, WorkflowRunEvent.FAIL):
        try:
            gateway.run_events([event])
        except UsageError:
            continue  # not from the state it is in
        except JobmonError as second:
            error.add_note(f"The server could not be told that run {gateway.workflow_run_id} ended: {second}")
        return


def _submit_and_wait(
    plugin: ClusterDistributor,
    gateway: Gateway,
    waiting: WaitingJob,
    request: HostRequest,
    resources: dict[str, Any],
    shared: SharedDirectory,
    timeout_seconds: float,
) -> StartedJob:
    directory = shared.root / "controller"
    directory.mkdir(mode=PRIVATE, exist_ok=True)
    request_file = directory / f"run_{gateway.workflow_run_id}.json"
    log = shared.logs / LOG_NAME
    request.workflow_run_id, request.log = gateway.workflow_run_id, str(log)
    write_private(request_file, msgspec.json.encode(request))
    job = BatchJob(
        name=waiting.job_name,
        array_id=0,
        batch_num=0,
        task_instance_ids=(0,),
        batch_file=request_file,
        wrapper=(sys.executable, "-P", "-m", "jobmon.swarm.host", REQUEST_OPTION, str(request_file)),
        requested_resources=resources,
        log_directory=shared.cluster_logs,
    )
    distributor_id = _submit(plugin, job)
    place = _place(plugin, distributor_id, resources, request.options.seconds_until_timeout)
    try:
        waits_for = _wait(plugin, distributor_id, request_file, log, place, timeout_seconds)
    except BaseException:
        _cancel(plugin, distributor_id, job.name)
        request_file.unlink(missing_ok=True)
        raise
    return StartedJob(gateway.workflow_run_id, log, place, waits_for)


def _place(
    plugin: ClusterDistributor, distributor_id: str, resources: dict[str, Any], seconds_until_timeout: float
) -> str:
    """Which job it is, for people; with how long it may run where the run may take longer."""
    details = f"queue {resources['queue']}"
    granted = resources.get("runtime")
    if isinstance(granted, int | float) and granted < seconds_until_timeout:
        details += f", at most {describe_duration(granted)}"
    return f"job {distributor_id} of cluster {plugin.cluster_name} ({details})"


def _submit(plugin: ClusterDistributor, job: BatchJob) -> str:
    """Submit the job; one that was perhaps submitted is looked for before it is given up."""
    if type(plugin).submit_batch is ClusterDistributor.submit_batch:  # it takes single commands
        return plugin.submit_to_batch_distributor(
            shlex.join(job.wrapper), job.name, dict(job.requested_resources)
        )
    try:
        return plugin.submit_batch(job)[0]
    except ClusterUnreachable:
        found = _find(plugin, job.name)
        if not found:
            raise
        return found[0]


def _find(plugin: ClusterDistributor, name: str) -> dict[int, str]:
    """The job of a name; empty when it surely was not submitted."""
    deadline = time.monotonic() + FIND_SECONDS
    while True:
        try:
            return plugin.find_batch(name, 1)
        except ClusterUnreachable:
            if time.monotonic() > deadline:
                raise
            time.sleep(LOOK_SECONDS)


def _cancel(plugin: ClusterDistributor, distributor_id: str, name: str) -> None:
    try:
        plugin.cancel({distributor_id: name})
    except JobmonError as error:
        logger.warning("job %s could not be cancelled: %s", distributor_id, error)


def _wait(
    plugin: ClusterDistributor,
    distributor_id: str,
    request_file: Path,
    log: Path,
    place: str,
    timeout_seconds: float,
) -> str:
    """Wait until the job has answered; what it waits for in the queue when the time is over."""
    deadline = time.monotonic() + timeout_seconds
    look_at, num_unseen = time.monotonic() + LOOK_SECONDS, 0
    while not _has_begun(request_file):
        time.sleep(POLL_SECONDS)
        now = time.monotonic()
        if now < min(look_at, deadline):
            continue
        look_at = now + LOOK_SECONDS
        try:
            look = plugin.look([distributor_id]).get(distributor_id)
        except ClusterUnreachable as error:
            if now >= deadline:
                return f"an answer of the cluster ({error})"
            continue
        if look is not None and look.can_never_start:
            raise SubmissionError(f"The controller, {place}, can never start: {look.reason}")
        num_unseen = num_unseen + 1 if look is None else 0
        if num_unseen >= _UNSEEN_LOOKS and not _has_begun(request_file):
            raise DistributorUnexpected(
                f"The controller, {place}, ended right after its start; the end of {log}:\n{tail_of(log)}"
            )
        if now >= deadline and look is not None and not look.is_running:
            return look.reason or "free resources"
        if now >= deadline and look is not None:
            raise DistributorStartupTimeout(
                f"The controller, {place}, did not work within {timeout_seconds:.0f} s; see {log} and "
                f"{request_file.parents[1] / 'cluster_logs'}."
            )
    return ""


def _has_begun(request_file: Path) -> bool:
    """Whether the job said that it works.

    Raises:
        JobmonError: the error it met.
    """
    os.listdir(request_file.parent)  # a network file system shows new files to who lists the directory
    answer = read_answer(request_file)
    if answer is None:
        return False
    if answer.error:
        raise error_of(answer)
    return answer.phase is not Phase.STARTING
