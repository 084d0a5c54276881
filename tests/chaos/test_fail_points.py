"""Each fail point once: a process dies there, what a user would do happens, and nothing is lost or there twice.

By default every point is tried on one database, which differs from point to point. With ``JOBMON_CHAOS=1`` (``make chaos``) every
point is tried on every database, and controllers are resumed in both ways.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from crash_scene import CrashScene, CrashScenes

from databases import Backend, parameters
from jobmon.testing.fail_points import POINTS, Cluster, Outcome, Point, Process, usual_database, words_of
from processes import Script, wait_until
from server_place import RealServer

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(240)]

IS_CHAOS = os.environ.get("JOBMON_CHAOS") == "1"
TASKS = {"a0": (), "a1": (), "b0": ("a0", "a1"), "b1": ("a1",)}
FAILING = "b0"
"""The task whose failure ends a run that is to cancel what else runs."""
HELD = "b1"
"""The task that runs then."""
GATE = "until [ -e gate.go ]; do sleep 0.02; done"
COUNTS = {
    Outcome.RIDES_THROUGH: 0,
    Outcome.GOES_ON: 0,
    Outcome.KEPT: 0,
    Outcome.TRIED_AGAIN: 1,
}
"""Tasks that have a second attempt; after a resume it may be any number of them, but one at least."""


def cases(process: Process) -> list[Any]:
    """The points of a process, each with its database."""
    backends = {param.values[0]: param for param in parameters()}
    return [
        pytest.param(point, each, id=f"{point.name}-{each}", marks=backends[each].marks)
        for point in POINTS.values()
        if point.process is process
        for each in (Backend if IS_CHAOS else (Backend(usual_database(point)),))
    ]


def spec_of(scene: CrashScene, point: Point) -> dict[str, Any]:
    """What the script runs; points at which something is cancelled need a task that fails while another runs."""
    if not point.name.startswith(("controller.terminate", "controller.cancel")):
        return {"tasks": scene.commands(TASKS)}
    fails_once = f"until [ -e started.{HELD} ]; do sleep 0.02; done; [ -e failed ] || (touch failed; exit 1)"
    tasks = scene.commands(TASKS, f"case NAME in {FAILING}) {fails_once};; {HELD}) {GATE};; esac")
    for task in tasks:
        task["max_attempts"] = 1 if task["name"] == FAILING else 3
    return {"tasks": tasks, "run": {"fail_fast": True}}


def check(scene: CrashScene, script: Script, point: Point, outcome: Outcome | None) -> None:
    """The workflow is done, the promise is kept, and the tasks have as many attempts as the table says."""
    result = script.result(60)
    assert result["status"] == "D", script.text
    assert scene.once.read_text().startswith(f"{point.name}:")
    scene.note_workflow(result)
    scene.assert_promise()
    letters = scene.letters()
    assert letters.keys() == TASKS.keys()
    failed = {FAILING} if (scene.work / "failed").exists() else set()
    again = [name for name, each in letters.items() if len(each) > 1 and name not in failed]
    if outcome is Outcome.RESUMED:
        assert again, letters
    elif outcome is not None:
        assert len(again) == COUNTS[outcome], letters
    assert max(map(len, letters.values())) <= 2, letters


# -- the server -----------------------------------------------------------------------------------------------
@contextmanager
def mortal_server(scene: CrashScene, point: Point) -> Iterator[RealServer]:
    """A server over the database, whose serving process dies once."""
    servers = scene.database.servers
    usual = servers.program
    servers.program = words_of(
        point.name, ["--", str(Path(sys.executable).with_name("jobmon-server"))], once=scene.once
    )
    try:
        server = servers.start(scene.uri, reaper__enabled="false")
    finally:
        servers.program = usual
    try:
        yield server
        assert "died (signal 9)" in server.text
        assert server.end() == 0
    finally:
        server.kill()


@pytest.mark.parametrize(("point", "backend"), cases(Process.SERVER))
def test_a_server_dies(point: Point, backend: Backend, crash_scenes: CrashScenes, tmp_path: Path) -> None:
    """Its supervisor starts another; controller and wrappers send again what was not answered."""
    place = crash_scenes.scene(backend, tmp_path / "place", is_served=False)
    with place as scene, mortal_server(scene, point) as server:
        scene.use_server(server.address)
        script = scene.start_crashing(scene.commands(TASKS), point.cluster)
        check(scene, script, point, point.outcome)


# -- the controller -------------------------------------------------------------------------------------------
@pytest.mark.parametrize(("point", "backend"), cases(Process.CONTROLLER))
@pytest.mark.parametrize("is_usual", [True, False] if IS_CHAOS else [True])
def test_a_controller_dies(
    point: Point, backend: Backend, is_usual: bool, crash_scenes: CrashScenes, tmp_path: Path
) -> None:
    """The workflow is resumed: on a batch cluster what lives is adopted (or ended, the unusual way), else it is ended."""
    with crash_scenes.scene(backend, tmp_path / "place") as scene:
        spec: Mapping[str, Any] = spec_of(scene, point)
        scene.dies(scene.start_crashing(spec["tasks"], point.cluster, point.name, run=spec.get("run", {})))
        scene.open("go")
        is_cold = (point.cluster is Cluster.MULTIPROCESS) is is_usual
        again = {"resume": True, "reset_running_jobs": is_cold}
        script = scene.start_crashing(spec["tasks"], point.cluster, run=again)
        check(scene, script, point, point.outcome if is_usual else None)


# -- the wrapper ----------------------------------------------------------------------------------------------
@pytest.mark.parametrize(("point", "backend"), cases(Process.WRAPPER))
def test_a_wrapper_dies(point: Point, backend: Backend, crash_scenes: CrashScenes, tmp_path: Path) -> None:
    """The cluster ends what its job has left behind, and the controller hears of it from the cluster."""
    with crash_scenes.scene(backend, tmp_path / "place") as scene:
        scene.have_wrappers_die(point.name)
        is_away = point.name.startswith("wrapper.spool")
        if is_away:
            scene.configure(worker_node__report_wait_seconds=0.5)
        script = scene.start_crashing(scene.commands(TASKS, GATE if is_away else ""), point.cluster)
        if is_away:
            wait_until(lambda: scene.noted("started", "a0") and scene.noted("started", "a1"), "commands")
            scene.database.kill_server()
            scene.open("go")
            scene.wait_killed()
            scene.database.start_server_again()
        check(scene, script, point, point.outcome)
