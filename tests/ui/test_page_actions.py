"""What owners may do in the browser: it asks, it does what the command line does, and it says what it did."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from fastapi import FastAPI
from page_visitor import HOSTILE, Made, PageVisitor, text_of
from sqlalchemy import event, select

from jobmon.core.exceptions import UsageError
from jobmon.core.states import TaskStatus
from jobmon.server.web.database import Database
from jobmon.server.web.models import Array, Task, Workflow, WorkflowHistory, WorkflowRun
from jobmon.server.web.store import downstream
from jobmon.server.web.ui import orders, resume_process
from jobmon.server.web.ui.pages import actions, status_actions
from jobmon.server.web.ui.resume_process import Resumed, resume_command, resume_detached


@pytest.fixture(autouse=True)
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(actions, "PATIENCE_SECONDS", 0.0)


def value(database: Database, column: Any, number: int) -> Any:
    with database.read() as connection:
        return connection.scalar(select(column).where(column.class_.id == number))


def statuses(database: Database, task_ids: list[int]) -> list[str]:
    with database.read() as connection:
        rows = connection.execute(select(Task.id, Task.status).where(Task.id.in_(task_ids)))
        found = {row[0]: row[1] for row in rows}
    return [found[task_id] for task_id in task_ids]


def actor_of_last_order(database: Database) -> str:
    with database.read() as connection:
        return str(
            connection.scalar(select(WorkflowHistory.actor).order_by(WorkflowHistory.id.desc()).limit(1))
        )


# -- stop and drain -------------------------------------------------------------------------------------
@pytest.mark.parametrize(("fields", "status"), [({}, "C"), ({"hot": "yes"}, "H")])
def test_stop_orders_the_run_to_end(
    owner: PageVisitor, made: Made, stored: Database, fields: dict[str, str], status: str
) -> None:
    """Cold kills what runs, hot leaves it to a resume; in the history stands who it was."""
    path = f"/workflow/{made.workflow.workflow_id}/stop"
    assert "what it runs (1 task) is killed" in owner.text(path)
    assert "was ordered to stop; its run" in owner.done(path, **fields)
    assert value(stored, WorkflowRun.status, made.run_id) == status
    assert actor_of_last_order(stored) == "user:tester"


def test_what_is_not_being_run_is_neither_stopped_nor_drained(owner: PageVisitor, made: Made) -> None:
    for what in ("stop", "drain"):
        path = f"/workflow/{made.resting.workflow_id}/{what}"
        assert "is not being run" in owner.text(path)
        answer = owner.post(path)
        assert answer.status_code == 409
        assert "is not being run" in text_of(answer)


def test_drain_lets_what_runs_finish(owner: PageVisitor, made: Made, stored: Database) -> None:
    path = f"/workflow/{made.workflow.workflow_id}/drain"
    sentence = owner.done(path)
    assert "starts no more tasks; 1 task still under way" in sentence
    assert value(stored, WorkflowRun.is_draining, made.run_id)
    assert "It is being drained already" in owner.text(path)


def test_who_listens_to_the_run_hears_of_it(
    app: FastAPI, owner: PageVisitor, made: Made, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The controller's long poll is woken, as by the routes."""
    told: list[int] = []
    monkeypatch.setattr(app.state.jobmon.feed, "notify", told.extend)
    base = f"/workflow/{made.workflow.workflow_id}"
    owner.done(f"{base}/limit", limit="4")
    owner.done(f"{base}/drain")
    owner.done(f"/task/{made.workflow.task_ids[2]}/status", status="D")
    owner.done(f"{base}/stop")
    assert told == [made.run_id] * 4


# -- limits ---------------------------------------------------------------------------------------------
def test_pause_and_go_on(owner: PageVisitor, made: Made, stored: Database) -> None:
    number = made.workflow.workflow_id
    assert "is not paused" in owner.text(f"/workflow/{number}/unpause")
    assert "Its limit was any number" in owner.done(f"/workflow/{number}/pause")
    assert value(stored, Workflow.max_concurrently_running, number) == 0
    assert "is paused already" in owner.text(f"/workflow/{number}/pause")
    assert "at most 7 tasks at once" in owner.done(f"/workflow/{number}/unpause", limit="7")
    assert value(stored, Workflow.max_concurrently_running, number) == 7


def test_limits_of_a_workflow_and_of_a_template(owner: PageVisitor, made: Made, stored: Database) -> None:
    number, array_id = made.workflow.workflow_id, made.workflow.array_id
    assert owner.done(f"/workflow/{number}/limit", limit="12") == (
        f"Workflow {number} now runs at most 12 tasks at once; its limit was any number."
    )
    assert 'value="12"' in owner.get(f"/workflow/{number}/limit").text
    sentence = owner.done(f"/workflow/{number}/template/{array_id}/limit", limit="0")
    assert sentence == "Template 'step' now starts no more tasks; its limit was any number."
    assert value(stored, Array.max_concurrently_running, array_id) == 0
    owner.done(f"/workflow/{number}/template/{array_id}/limit", limit="2147483647")
    assert value(stored, Array.max_concurrently_running, array_id) == 2147483647


@pytest.mark.parametrize("text", ["", "-1", "x", "1.5", "2147483648", "9" * 40, "٣"])
def test_what_is_no_limit_changes_nothing(
    owner: PageVisitor, made: Made, stored: Database, text: str
) -> None:
    number = made.workflow.workflow_id
    before = value(stored, Workflow.max_concurrently_running, number)
    for path in (f"/workflow/{number}/limit", f"/workflow/{number}/template/{made.workflow.array_id}/limit"):
        answer = owner.post(path, {"limit": text})
        assert answer.status_code == 400
        assert "A limit is a whole number from 0 (pause) to 2147483647" in text_of(answer)
    assert value(stored, Workflow.max_concurrently_running, number) == before


def test_a_template_of_another_workflow_is_not_found(owner: PageVisitor, made: Made) -> None:
    for what in ("limit", "tasks"):
        path = f"/workflow/{made.workflow.workflow_id}/template/{made.resting.array_id}/{what}"
        assert owner.get(path).status_code == 404
        assert owner.post(path, {"limit": "3", "status": "D"}).status_code == 404


# -- statuses -------------------------------------------------------------------------------------------
def test_one_task_is_set_with_or_without_those_that_wait_for_it(
    owner: PageVisitor, made: Made, stored: Database
) -> None:
    first, second = made.resting.task_ids
    path = f"/task/{first}/status"
    assert "It is REGISTERED" in owner.text(path)
    assert owner.done(path, status="D").startswith("1 of 1 task was set to DONE")
    assert statuses(stored, [first, second]) == ["D", "G"]
    sentence = owner.done(path, status="D", downstream="yes")
    assert sentence.startswith("1 of 2 tasks (with 1 task waiting for it) was set to DONE")
    assert sentence.endswith(f"workflow {made.resting.workflow_id} is DONE.")
    assert owner.done(path, status="G", downstream="yes").startswith("2 of 2 tasks")
    assert statuses(stored, [first, second]) == ["G", "G"]


def test_a_task_alone_is_not_run_again_behind_those_that_used_it(owner: PageVisitor, made: Made) -> None:
    first = made.resting.task_ids[0]
    owner.done(f"/task/{first}/status", status="D", downstream="yes")
    answer = owner.post(f"/task/{first}/status", {"status": "G"})
    assert answer.status_code == 409
    assert "cannot run again" in text_of(answer)


@pytest.mark.parametrize("status", ["", "R", "DONE2", HOSTILE])
def test_only_two_states_are_set_by_hand(owner: PageVisitor, made: Made, status: str) -> None:
    for path in (f"/task/{made.resting.task_ids[0]}/status", f"/workflow/{made.resting.workflow_id}/tasks"):
        answer = owner.post(path, {"status": status})
        assert answer.status_code == 400
        assert HOSTILE not in answer.text


def test_the_tasks_of_a_template_and_of_a_workflow(owner: PageVisitor, made: Made, stored: Database) -> None:
    resting, number = made.resting, made.resting.workflow_id
    path = f"/workflow/{number}/template/{resting.array_id}/tasks"
    assert "2 tasks, 0 of them failed" in owner.text(path)
    assert "No task is chosen" in text_of(owner.post(path, {"status": "G", "which": "failed"}))
    assert "Choose which tasks" in text_of(owner.post(path, {"status": "G", "which": "some"}))
    assert owner.done(path, status="D").startswith("2 of 2 tasks were set to DONE")
    assert owner.done(f"/workflow/{number}/tasks", status="G", downstream="yes").startswith("2 of 2 tasks")
    assert statuses(stored, resting.task_ids) == [TaskStatus.REGISTERED] * 2


def test_too_many_tasks_are_refused_as_on_the_command_line(
    owner: PageVisitor, made: Made, stored: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in (downstream, orders, status_actions):
        monkeypatch.setattr(module, "MAX_TASKS", 1)
    path = f"/workflow/{made.resting.workflow_id}/tasks"
    assert f"jobmon workflow reset {made.resting.workflow_id}" in owner.text(path)
    answer = owner.post(path, {"status": "D"})
    assert answer.status_code == 400
    assert "More than 1 tasks would change" in text_of(answer)
    one = owner.post(f"/task/{made.resting.task_ids[0]}/status", {"status": "D", "downstream": "yes"})
    assert one.status_code == 400
    assert statuses(stored, made.resting.task_ids) == ["G", "G"]


# -- resume ---------------------------------------------------------------------------------------------
def test_a_server_for_many_says_what_to_type(owner: PageVisitor, made: Made) -> None:
    path = f"/workflow/{made.resting.workflow_id}/resume"
    assert "This server cannot act as you" in owner.text(path)
    assert f"jobmon workflow resume -w {made.resting.workflow_id}" in owner.text(path)
    assert owner.post(path, {"run": "0"}).status_code == 400


@pytest.fixture
def local(app: FastAPI, monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """A local server; the starts of processes are noted instead."""
    app.state.jobmon.is_local = True
    started: list[Any] = []

    def note(config: Any, workflow_id: int, words: list[str], working_dir: str) -> Resumed:
        started.append((workflow_id, words))
        return Resumed(
            f"workflow {workflow_id}: run 7 goes on by itself (RUNNING)", None, Path("/logs/resume.log")
        )

    monkeypatch.setattr(actions, "resume_detached", note)
    return started


def test_a_local_server_starts_what_one_would_type(owner: PageVisitor, made: Made, local: list[Any]) -> None:
    number = made.resting.workflow_id
    path = f"/workflow/{number}/resume"
    sentence = owner.done(path, reset_running="yes", keep_resources="yes")
    assert sentence == (
        f"Workflow {number}: run 7 goes on by itself (RUNNING). Its log is /logs/controller.log."
    )
    assert local == [
        (number, ["workflow", "resume", str(number), "--detach", "--reset-running", "--keep-resources"])
    ]


def test_a_form_older_than_the_latest_run_resumes_nothing(
    owner: PageVisitor, made: Made, local: list[Any]
) -> None:
    """Pressed twice, the second must not take the workflow from the first."""
    answer = owner.post(f"/workflow/{made.workflow.workflow_id}/resume", {"run": "0"})
    assert answer.status_code == 409
    assert f"(run {made.run_id} of user tester)" in text_of(answer)
    assert local == []


def test_what_is_done_is_not_resumed(owner: PageVisitor, made: Made, local: list[Any]) -> None:
    number = made.resting.workflow_id
    owner.done(f"/workflow/{number}/tasks", status="D")
    assert f"Every task of workflow {number} is done" in owner.text(f"/workflow/{number}/resume")
    assert owner.post(f"/workflow/{number}/resume", {"run": "0"}).status_code == 400
    assert local == []


def test_the_error_of_the_process_is_told(
    app: FastAPI, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With its log, which nobody else can read; and the next try is not refused."""
    config = app.state.jobmon.config
    monkeypatch.setattr(resume_process, "START_SECONDS", 60.0)
    for _ in range(2):
        with pytest.raises(
            UsageError, match=r"could not be resumed\. There is no command 'nonsense'"
        ) as caught:
            resume_detached(config, 3, ["nonsense"], str(tmp_path / "no such directory"), 60.0)
    log = Path(str(caught.value).partition("(log: ")[2].rstrip(")"))
    assert log.is_file()
    assert log.stat().st_mode & 0o077 == 0


def test_one_resume_at_a_time(app: FastAPI, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(resume_process, "_under_way", {3})
    with pytest.raises(UsageError, match="being resumed already"):
        resume_detached(
            app.state.jobmon.config, 3, resume_command(3, reset_running=False, keep_resources=False), ""
        )


# -- all of them ----------------------------------------------------------------------------------------
def asks(made: Made) -> list[str]:
    number = made.workflow.workflow_id
    words = ("stop", "drain", "pause", "unpause", "resume", "limit", "tasks")
    template = f"/workflow/{number}/template/{made.workflow.array_id}"
    return [
        *(f"/workflow/{number}/{word}" for word in words),
        f"{template}/limit",
        f"{template}/tasks",
        f"/task/{made.workflow.task_ids[0]}/status",
    ]


def test_every_question_escapes_names_and_reads_little(
    owner: PageVisitor, made: Made, stored: Database
) -> None:
    """At most eight statements each, and no script of a workflow's name."""
    statements: list[str] = []
    event.listen(stored.engine, "before_cursor_execute", lambda *all_: statements.append(all_[2]))
    for path in asks(made):
        statements.clear()
        answer = owner.get(path)
        assert answer.status_code == 200
        assert HOSTILE not in answer.text
        assert len([text for text in statements if not text.startswith("PRAGMA")]) <= 8, statements
        assert "In a shell:" in answer.text


def test_there_is_nothing_to_do_to_what_is_not(owner: PageVisitor, made: Made) -> None:
    for path in ("/workflow/999/stop", "/workflow/999/limit", "/task/999/status", "/workflow/x/stop"):
        answer = owner.get(path)
        assert answer.status_code in (400, 404, 422), path
        assert "<h1>" in answer.text
