"""A controller inside a job of a batch cluster, which the cluster may start anew on another node.

Rules
-----
1. The request stands in a file, secrets included, that only its owner can read. What becomes of it is told in the
   *answer*, a file beside it: who hosts the run before the server is asked, then that it works, or the error that keeps
   it from working. The request is removed when all is over, the answer stays.
2. A job that was started anew takes the run over where an earlier start of it left it (hot: what lives on clusters is
   adopted). A run that was ended on purpose, or that somebody else has taken over since, is left alone.
3. SIGTERM (the job ran into its limits, is preempted or cancelled) hands the run over at once: its remote attempts go on, for
   the next start of the job or for a resume.
"""

from __future__ import annotations

import logging
import logging.config
import os
import signal
import threading
import time
from dataclasses import replace
from enum import StrEnum
from pathlib import Path
from types import FrameType

import msgspec

from jobmon.core.configuration import JobmonConfig
from jobmon.core.exceptions import JobmonError, WorkflowAlreadyComplete, WorkflowRunStateError
from jobmon.core.logging import logging_settings
from jobmon.core.process_identity import ProcessIdentity, this_process
from jobmon.core.requester import Requester
from jobmon.core.states import WORKFLOW_RUN_TERMINAL, WorkflowRunStatus
from jobmon.distributor.private_file import write_private
from jobmon.serializers.swarm import ResumableResponse, RunProgressResponse, SetResumeRequest
from jobmon.swarm.controller import Controller
from jobmon.swarm.host import HostAnswer, HostRequest, attend, default_config, requester_for
from jobmon.swarm.resume import prepare_resume

logger = logging.getLogger("jobmon.swarm.host")

HAND_OVER_SECONDS = 20.0
HAND_OVER_PAUSE_SECONDS = 0.3
TAKE_OVER_MARGIN_SECONDS = 60.0
_CREATED = frozenset({WorkflowRunStatus.REGISTERED, WorkflowRunStatus.LINKING, WorkflowRunStatus.BOUND})


class Phase(StrEnum):
    """How far a job has come with its run."""

    STARTING = "starting"
    WORKING = "working"
    HANDING_OVER = "handing over"
    ENDED = "ended"


class JobAnswer(HostAnswer):
    """What became of a request, told in a file.

    Attributes:
        phase: how far it has come.
        processes: those that hosted the run, one for each start of the job.
    """

    phase: Phase = Phase.STARTING
    processes: tuple[ProcessIdentity, ...] = ()


class Beginning(StrEnum):
    """What a job does when it is started."""

    TAKE = "take"
    TAKE_OVER = "take over"
    LEAVE = "leave"


def answer_file(request_file: Path) -> Path:
    """Where the answer to a request stands."""
    return request_file.with_name(request_file.name + ".answer")


def read_answer(request_file: Path) -> JobAnswer | None:
    """The answer to a request; ``None`` when there is none yet."""
    try:
        return msgspec.json.decode(answer_file(request_file).read_bytes(), type=JobAnswer)
    except (OSError, msgspec.DecodeError):
        return None


def beginning(before: JobAnswer | None, workflow_run_id: int, latest: RunProgressResponse) -> Beginning:
    """What to do with a run, by what an earlier start of the job left and by what the server knows.

    Args:
        before: the answer of an earlier start; ``None`` for none.
        workflow_run_id: the run that was created for the job.
        latest: the latest run of the workflow.
    """
    status = WorkflowRunStatus(latest.run_status) if latest.run_status else None
    if latest.workflow_run_id == workflow_run_id and status in _CREATED:
        return Beginning.TAKE
    if before is None or before.phase is Phase.ENDED or status is None:
        return Beginning.LEAVE
    if latest.controller not in before.processes:
        return Beginning.LEAVE  # somebody else took over
    if status not in WORKFLOW_RUN_TERMINAL or status is WorkflowRunStatus.ERROR:
        return (
            Beginning.TAKE_OVER
        )  # its controller died: no sign of life any more, and counted as lost in the end
    is_handed_over = before.phase is Phase.HANDING_OVER and status is WorkflowRunStatus.TERMINATED
    return Beginning.TAKE_OVER if is_handed_over else Beginning.LEAVE


class Ledger:
    """Keeps the answer to a request.

    Args:
        request_file: where the request stands.
        before: the answer of an earlier start.
    """

    def __init__(self, request_file: Path, before: JobAnswer | None = None) -> None:
        self._request_file = request_file
        self._answer = JobAnswer() if before is None else before
        self._answer.processes += (this_process(),)

    @property
    def phase(self) -> Phase:
        """How far the job has come."""
        return self._answer.phase

    def note(self, phase: Phase, error: BaseException | None = None) -> None:
        """Write how far the job has come, unless a later start of it speaks for it by now."""
        self._answer.phase = phase
        known = read_answer(self._request_file)
        if known is not None and this_process() in known.processes[:-1]:
            return
        if error is not None:
            self._answer.error, self._answer.message = type(error).__name__, str(error)
        write_private(answer_file(self._request_file), msgspec.json.encode(self._answer))
        if phase is Phase.ENDED:
            self._request_file.unlink(missing_ok=True)


def host_job(request_file: Path) -> int:
    """Host the controller a request asks for, in this process, to the end of its run; an exit code."""
    before, is_leaving = read_answer(request_file), threading.Event()
    if before is not None and before.phase is Phase.ENDED:
        return 0
    request = msgspec.json.decode(request_file.read_bytes(), type=HostRequest)
    _redirect_output(request.log)
    os.environ.update(request.environment)
    config = JobmonConfig()
    logging.config.dictConfig(logging_settings(config, "distributor", default_config))
    try:
        requester = requester_for(request, config)
        latest = _latest(requester, request.workflow_id)
        what = beginning(before, request.workflow_run_id, latest)
        ledger = Ledger(request_file, before)
        if what is Beginning.LEAVE:
            return _leave(ledger, before, request, latest)
        ledger.note(ledger.phase)  # who it is, before the server is told
        controller = _begin(requester, request, config, what, is_leaving)
    except WorkflowAlreadyComplete as error:
        logger.info("nothing to do: %s", error)
        ledger.note(Phase.ENDED)
        return 0
    except Exception as error:
        logger.error("the run of workflow %d cannot be taken", request.workflow_id, exc_info=True)
        Ledger(request_file, before).note(Phase.ENDED, error)
        return 1
    ledger.note(Phase.HANDING_OVER if is_leaving.is_set() else Phase.WORKING)
    outcome = attend(controller)
    ledger.note(Phase.HANDING_OVER if is_leaving.is_set() else Phase.ENDED)
    return 0 if outcome is not None else 1


def _redirect_output(log: str) -> None:
    """Write to the log of the controller; where that cannot be opened, the cluster's own log has to do."""
    try:
        output = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    except OSError:
        return
    os.dup2(output, 1)
    os.dup2(output, 2)
    os.close(output)


def _latest(requester: Requester, workflow_id: int) -> RunProgressResponse:
    return requester.send("GET", f"/swarm/workflow/{workflow_id}/progress", None, RunProgressResponse)


def _leave(
    ledger: Ledger, before: JobAnswer | None, request: HostRequest, latest: RunProgressResponse
) -> int:
    status = WorkflowRunStatus(latest.run_status).name if latest.run_status else "unknown"
    logger.info(
        "nothing to do: the latest run of workflow %d is %s, which is %s",
        request.workflow_id,
        latest.workflow_run_id,
        status,
    )
    if before is None:
        text = f"Workflow run {request.workflow_run_id} was over before its job began."
        ledger.note(Phase.ENDED, WorkflowRunStateError(text))
    return 0


def _begin(
    requester: Requester,
    request: HostRequest,
    config: JobmonConfig,
    what: Beginning,
    is_leaving: threading.Event,
) -> Controller:
    options = request.options
    if what is Beginning.TAKE_OVER:
        logger.warning("workflow %d: this job was started anew and takes its run over", request.workflow_id)
        seconds = options.heartbeat_interval * options.report_by_buffer + TAKE_OVER_MARGIN_SECONDS
        prepare_resume(requester, request.workflow_id, reset_running_jobs=False, timeout_seconds=seconds)
        options = replace(options, adopt=True)
    controller = Controller(requester, request.workflow_id, options, config=config)
    _hand_over_on_signal(controller, requester, is_leaving)
    controller.start(request.workflow_run_id if what is Beginning.TAKE else None)
    return controller


def _hand_over_on_signal(controller: Controller, requester: Requester, is_leaving: threading.Event) -> None:
    """On SIGTERM hand the run over; on a second one end at once."""

    def obey(number: int, frame: FrameType | None) -> None:
        if is_leaving.is_set():
            controller.abort()
            return
        is_leaving.set()
        threading.Thread(
            target=hand_over, args=(requester, controller.workflow_id), name="jobmon-hand-over", daemon=True
        ).start()

    signal.signal(signal.SIGTERM, obey)


def hand_over(requester: Requester, workflow_id: int) -> None:
    """Order the run that is alive to hand over, as a hot resume does, until none is."""
    logger.warning("the cluster ends this job: workflow %d is handed over", workflow_id)
    path, order = f"/swarm/workflow/{workflow_id}/set_resume", SetResumeRequest(reset_running_jobs=False)
    deadline = time.monotonic() + HAND_OVER_SECONDS
    try:
        while time.monotonic() < deadline:
            answer = requester.send("POST", path, order, ResumableResponse)
            if answer.alive_workflow_run_id is None:
                return
            time.sleep(HAND_OVER_PAUSE_SECONDS)
    except JobmonError as error:
        logger.error("workflow %d could not be handed over: %s", workflow_id, error)
