"""What owners may do to their workflows and tasks; each asks first.

What is done is done by the functions of the routes, so that a button does what the command line does.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from shlex import quote

from jobmon.core.exceptions import UsageError, WorkflowRunStateError
from jobmon.core.states import TaskStatus, WorkflowRunStatus, WorkflowStatus
from jobmon.core.words import counted, thousands
from jobmon.serializers.swarm import LimitRequest, ResumableResponse, SetResumeRequest
from jobmon.server.web.routes import swarm, swarm_read
from jobmon.server.web.store.swarm_read import MAX_LIMIT
from jobmon.server.web.ui.live import LiveSource
from jobmon.server.web.ui.orders import (
    DEFAULT_LIMIT,
    WorkflowFacts,
    array_facts,
    context_of,
    is_ticked,
    limit_of,
    look,
    words_of_limit,
    workflow_facts,
)
from jobmon.server.web.ui.page_router import Confirmation, Done, Field, Form, PageRouter, View
from jobmon.server.web.ui.pages import status_actions
from jobmon.server.web.ui.resume_process import resume_command, resume_detached

pages = PageRouter()
pages.routes += status_actions.pages.routes
LIVE: Mapping[str, LiveSource] = {}

PATIENCE_SECONDS = 2.0
"""How long a browser waits to see a stopped run end."""
POLL_SECONDS = 0.1


# -- stop -----------------------------------------------------------------------------------------------
def _ask_stop(view: View, workflow_id: int) -> Confirmation:
    facts = look(view, workflow_facts, workflow_id)
    running = counted(facts.num_active, "task")
    return Confirmation(
        title=f"Stop {facts.title}?",
        sentences=(
            f"Its run ends, and what it runs ({running}) is killed. What is done stays done; it can be resumed.",
            "To let running tasks finish instead, drain it.",
        ),
        button="Stop it",
        back=facts.path,
        fields=(
            Field(
                "hot",
                "Leave running what batch clusters run",
                "checkbox",
                hint="A resume takes it over; on this machine nothing can be left.",
            ),
        ),
        command=f"jobmon workflow stop {workflow_id}",
        refusal=facts.not_running,
        is_dangerous=True,
    )


@pages.action("/workflow/{workflow_id}/stop", _ask_stop)
def stop(view: View, form: Form, workflow_id: int) -> Done:
    """End the run of a workflow."""
    facts = look(view, workflow_facts, workflow_id)
    if facts.not_running:
        raise WorkflowRunStateError(facts.not_running)
    hot = is_ticked(form, "hot")
    order = swarm.workflow_set_resume if hot else swarm.workflow_stop
    message = SetResumeRequest(reset_running_jobs=not hot)
    answer = order(context_of(view), workflow_id, message)
    deadline = time.monotonic() + PATIENCE_SECONDS
    while answer.alive_workflow_run_id is not None and time.monotonic() < deadline:
        time.sleep(POLL_SECONDS)
        answer = swarm.workflow_is_resumable(context_of(view), workflow_id, cold=not hot)
    return Done(_words_of_stop(facts, answer, hot), facts.path)


def _words_of_stop(facts: WorkflowFacts, answer: ResumableResponse, hot: bool) -> str:
    status = WorkflowStatus(answer.workflow_status).name
    if answer.alive_workflow_run_id is not None:
        run = f"run {answer.alive_workflow_run_id} is {WorkflowRunStatus(answer.alive_run_status).name}"
        return f"Workflow {facts.id} was ordered to stop; its {run} and ends when its controller has heard of it."
    left = len(answer.pending)
    if left and hot:
        return f"Workflow {facts.id} was stopped and is {status}; {counted(left, 'attempt')} may go on."
    if left:
        return (
            f"Workflow {facts.id} was stopped and is {status}; {counted(left, 'attempt')} still to be ended, "
            "which a resume sees to."
        )
    return f"Workflow {facts.id} was stopped and is {status}; {counted(facts.num_active, 'task')} had been under way."


# -- drain ----------------------------------------------------------------------------------------------
def _ask_drain(view: View, workflow_id: int) -> Confirmation:
    facts = look(view, workflow_facts, workflow_id)
    refusal = facts.not_running
    if not refusal and facts.run is not None and facts.run.is_draining:
        refusal = f"It is being drained already; {counted(facts.num_active, 'task')} to end."
    return Confirmation(
        title=f"Drain {facts.title}?",
        sentences=(
            f"It starts no more tasks and ends when those under way ({thousands(facts.num_active)}) have ended.",
        ),
        button="Drain it",
        back=facts.path,
        command=f"jobmon workflow stop {workflow_id} --drain",
        refusal=refusal,
    )


@pages.action("/workflow/{workflow_id}/drain", _ask_drain)
def drain(view: View, form: Form, workflow_id: int) -> Done:
    """Have a run start nothing more."""
    facts = look(view, workflow_facts, workflow_id)
    if facts.not_running:
        raise WorkflowRunStateError(facts.not_running)
    answer = swarm.workflow_drain(context_of(view), workflow_id)
    under_way = counted(answer.active, "task")
    sentence = f"Workflow {workflow_id} starts no more tasks; {under_way} still under way, then its run ends."
    return Done(sentence, facts.path)


# -- limits ---------------------------------------------------------------------------------------------
def _ask_pause(view: View, workflow_id: int) -> Confirmation:
    facts = look(view, workflow_facts, workflow_id)
    return Confirmation(
        title=f"Pause {facts.title}?",
        sentences=(
            (
                "No more of its tasks are started until it goes on; those under way "
                f"({thousands(facts.num_active)}) end as always."
            ),
            f"This sets its limit of tasks at once, now {words_of_limit(facts.limit)}, to 0.",
        ),
        button="Pause it",
        back=facts.path,
        command=f"jobmon workflow concurrency {workflow_id} -m 0",
        refusal=f"Workflow {workflow_id} is paused already." if facts.limit == 0 else "",
    )


@pages.action("/workflow/{workflow_id}/pause", _ask_pause)
def pause(view: View, form: Form, workflow_id: int) -> Done:
    """Start no more tasks of a workflow."""
    facts = look(view, workflow_facts, workflow_id)
    swarm_read.workflow_limit(context_of(view), workflow_id, LimitRequest(0))
    sentence = (
        f"Workflow {workflow_id} is paused; {counted(facts.num_active, 'task')} under way. "
        f"Its limit was {words_of_limit(facts.limit)}."
    )
    return Done(sentence, facts.path)


def _limit_field(value: int, hint: str = "") -> Field:
    return Field(
        "limit",
        "Tasks at once",
        "number",
        str(value),
        hint=hint or f"0 is a pause, {MAX_LIMIT} no limit.",
        low=0,
        high=MAX_LIMIT,
    )


def _ask_unpause(view: View, workflow_id: int) -> Confirmation:
    facts = look(view, workflow_facts, workflow_id)
    return Confirmation(
        title=f"Let {facts.title} go on?",
        sentences=("Its tasks are started again, as many at once as you say.",),
        button="Let it go on",
        back=facts.path,
        fields=(_limit_field(DEFAULT_LIMIT, f"{MAX_LIMIT}: no limit."),),
        command=f"jobmon workflow concurrency {workflow_id} -m 100",
        refusal="" if facts.limit == 0 else f"Workflow {workflow_id} is not paused.",
    )


@pages.action("/workflow/{workflow_id}/unpause", _ask_unpause)
def unpause(view: View, form: Form, workflow_id: int) -> Done:
    """Start tasks of a workflow again."""
    return _set_limit(view, form, workflow_id)


def _ask_limit(view: View, workflow_id: int) -> Confirmation:
    facts = look(view, workflow_facts, workflow_id)
    return Confirmation(
        title=f"How many tasks of {facts.title} may run at once?",
        sentences=(
            (
                f"Now: {words_of_limit(facts.limit)}. {counted(facts.num_active, 'task')} under way. "
                "What runs is left running."
            ),
        ),
        button="Set the limit",
        back=facts.path,
        fields=(_limit_field(facts.limit),),
        command=f"jobmon workflow concurrency {workflow_id} -m 100",
    )


@pages.action("/workflow/{workflow_id}/limit", _ask_limit)
def limit(view: View, form: Form, workflow_id: int) -> Done:
    """Set how many tasks of a workflow may run at once."""
    return _set_limit(view, form, workflow_id)


def _set_limit(view: View, form: Form, workflow_id: int) -> Done:
    wanted = limit_of(form)
    before = look(view, workflow_facts, workflow_id)
    swarm_read.workflow_limit(context_of(view), workflow_id, LimitRequest(wanted))
    return Done(_words_of_set(f"Workflow {workflow_id}", wanted, before.limit), before.path)


def _words_of_set(whose: str, wanted: int, before: int) -> str:
    now = "starts no more tasks" if wanted == 0 else f"runs {_at_most(wanted)} tasks at once"
    return f"{whose} now {now}; its limit was {words_of_limit(before)}."


def _at_most(wanted: int) -> str:
    return "any number of" if wanted >= MAX_LIMIT else f"at most {thousands(wanted)}"


def _ask_template_limit(view: View, workflow_id: int, array_id: int) -> Confirmation:
    facts = look(view, array_facts, workflow_id, array_id)
    return Confirmation(
        title=f"How many tasks of template '{facts.name}' may run at once?",
        sentences=(
            (
                f"In {facts.workflow.title}; now: {words_of_limit(facts.limit)}. "
                f"The limit of the workflow ({words_of_limit(facts.workflow.limit)}) holds as well."
            ),
        ),
        button="Set the limit",
        back=facts.path,
        fields=(_limit_field(facts.limit),),
        command=f"jobmon workflow concurrency {workflow_id} -m 100 --template {quote(facts.name)}",
    )


@pages.action("/workflow/{workflow_id}/template/{array_id}/limit", _ask_template_limit)
def template_limit(view: View, form: Form, workflow_id: int, array_id: int) -> Done:
    """Set how many tasks of a template may run at once."""
    wanted = limit_of(form)
    facts = look(view, array_facts, workflow_id, array_id)
    message = LimitRequest(wanted, task_template_version_id=facts.task_template_version_id)
    swarm_read.workflow_limit(context_of(view), workflow_id, message)
    return Done(_words_of_set(f"Template '{facts.name}'", wanted, facts.limit), facts.path)


# -- resume ---------------------------------------------------------------------------------------------
def _why_no_resume(view: View, facts: WorkflowFacts) -> str:
    if facts.status is WorkflowStatus.DONE:
        return f"Every task of workflow {facts.id} is done. To run some again, set them to registered first."
    if not facts.is_bound:
        return f"Workflow {facts.id} is not registered completely; run the script that defines it again."
    if not view.state.is_local:
        return (
            "This server cannot act as you: a run is a process of yours, on a machine of yours. "
            "Type the command below there."
        )
    return ""


def _ask_resume(view: View, workflow_id: int) -> Confirmation:
    facts = look(view, workflow_facts, workflow_id)
    undone = facts.progress.total - facts.count(TaskStatus.DONE)
    sentences = [
        (
            f"{counted(undone, 'task')} to run, {thousands(facts.count(TaskStatus.ERROR_FATAL))} "
            "of them failed before; those that are done are left alone. The run goes on by itself, as a process of "
            "yours on this machine, whether a browser is open or not."
        ),
        "If what failed needs mending, mend it first: the commands of the tasks are run as they are registered.",
    ]
    if facts.run is not None and facts.run.is_alive:
        sentences.append(
            f"Its run {facts.run.id} of user {facts.run.user} is {facts.run.status.name}; if that still goes on, "
            "it has to hand over."
        )
    if facts.limit == 0:
        sentences.append("It is paused: nothing is started until you let it go on.")
    return Confirmation(
        title=f"Resume {facts.title}?",
        sentences=sentences,
        button="Resume it",
        back=facts.path,
        fields=(
            Field("run", "", "hidden", str(facts.run.id if facts.run is not None else 0)),
            Field(
                "reset_running",
                "End what still runs of an earlier run",
                "checkbox",
                hint="Otherwise it is taken over.",
            ),
            Field(
                "keep_resources",
                "Ask for no more than last time",
                "checkbox",
                hint="Otherwise tasks that had too little memory or time ask for more.",
            ),
        ),
        command=f"jobmon workflow resume -w {workflow_id}",
        refusal=_why_no_resume(view, facts),
    )


@pages.action("/workflow/{workflow_id}/resume", _ask_resume)
def resume(view: View, form: Form, workflow_id: int) -> Done:
    """Run what is not done of a workflow, in a process of its own."""
    facts = look(view, workflow_facts, workflow_id)
    if refused := _why_no_resume(view, facts):
        raise UsageError(refused)
    if form.get("run", "") != str(facts.run.id if facts.run is not None else 0):
        raise WorkflowRunStateError(
            f"Since the page was shown another run of workflow {workflow_id} has begun"
            + (f" (run {facts.run.id} of user {facts.run.user})." if facts.run is not None else ".")
        )
    words = resume_command(
        workflow_id,
        reset_running=is_ticked(form, "reset_running"),
        keep_resources=is_ticked(form, "keep_resources"),
    )
    done = resume_detached(view.state.config, workflow_id, words, facts.working_dir)
    if done.pid is not None:
        sentence = (
            f"Workflow {workflow_id} is about to be resumed by process {done.pid}; it writes to {done.log}."
        )
    else:
        sentence = (
            f"{done.words[:1].upper()}{done.words[1:]}. Its log is {done.log.with_name('controller.log')}."
        )
    return Done(sentence, facts.path)
