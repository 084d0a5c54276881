"""A database server that is stopped again and again while a real controller runs thousands of tasks."""

from __future__ import annotations

import json
import random
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from own_engines import OwnEngine
from sqlalchemy import create_engine

from jobmon.server.web.db_admin import init_db
from jobmon.testing.history import check_history
from jobmon.testing.journal import Journal
from processes import Script
from server_place import Servers, servers_in

HERE = Path(__file__).resolve().parent
AWAY_SECONDS = (0.0, 2.0)
BIND_SECONDS = 60.0
RUN_SECONDS = 200.0
"""For a run that is left alone after the last stop."""


@dataclass(frozen=True)
class Stops:
    """What is to be done.

    Attributes:
        tasks: how many.
        every_seconds: between two stops, drawn evenly.
        command: what each task does.
        most: stops there may be.
    """

    tasks: int
    every_seconds: tuple[float, float]
    command: str = "true"
    most: int = 10**9


@dataclass
class Stopped:
    """What was done.

    Attributes:
        stops: how often the database was stopped.
        away_seconds: how long it was away, all together; starting it again not counted.
        seconds: the run took.
        acknowledged: changes that were acknowledged to the controller.
        problems: what is lost, doubled or illegal, in words.
    """

    stops: int = 0
    away_seconds: float = 0.0
    seconds: float = 0.0
    acknowledged: int = 0
    problems: list[str] = field(default_factory=list)


def stop_round(
    engine: OwnEngine,
    directory: Path,
    plan: Stops,
    dice: random.Random,
    tell: Callable[[str], None] = lambda _: None,
) -> Stopped:
    """Run tasks on this machine while the database is stopped and started.

    Args:
        engine: the database server.
        directory: for everything that runs.
        plan: what is to be done.
        dice: when it is stopped, how (in good order or by SIGKILL), and for how long.
        tell: is told of each stop.
    """
    found = Stopped()
    with engine.database() as uri, servers_in(directory) as servers:
        init_db(uri)
        server = servers.start(uri, reaper__enabled="false")
        script = _start_tasks(servers, server.address, directory, plan)
        script.wait_for("BOUND", BIND_SECONDS)
        began = time.monotonic()
        while script.process.poll() is None and found.stops < plan.most:
            if _ended_within(script, dice.uniform(*plan.every_seconds)):
                break
            away = dice.uniform(*AWAY_SECONDS)
            is_killed = dice.random() < 0.5
            (engine.kill if is_killed else engine.stop)()
            time.sleep(away)
            engine.start()
            found.stops += 1
            found.away_seconds += away
            tell(f"stop {found.stops}, {'by SIGKILL' if is_killed else 'in good order'}, for {away:.1f} s")
        result = script.result(RUN_SECONDS)
        found.seconds = time.monotonic() - began
        if (result["status"], result["done"]) != ("D", plan.tasks):
            found.problems.append(f"the workflow ended with {result['status']}, {result['done']} tasks done")
        _compare(uri, directory, found)
        assert server.end() == 0
    return found


def _start_tasks(servers: Servers, address: str, directory: Path, plan: Stops) -> Script:
    """Start a control script whose tasks note which attempt of them ran."""
    command = f"echo $JOBMON_TASK_INSTANCE_ID >> {directory}/ran; {plan.command}"
    tasks = [{"name": f"t{number}", "command": command} for number in range(plan.tasks)]
    flow, output = directory / "flow.json", directory / "output"
    flow.write_text(json.dumps({"tasks": tasks, "workflow": {"name": "stops", "workflow_args": "stops"}}))
    environment = {
        **servers.environment,
        "HASTE": "{}",
        "JOURNAL": str(directory / "journal"),
        "JOBMON__HTTP__SERVICE_URL": address,
        "JOBMON__MULTIPROCESS__PARALLELISM": "4",
    }
    with open(output, "wb") as file:
        process = subprocess.Popen(
            [sys.executable, str(HERE / "journalled_flow.py"), str(flow)],
            stdin=subprocess.DEVNULL,
            stdout=file,
            stderr=subprocess.STDOUT,
            cwd=directory,
            env=environment,
        )
    script = Script(process, output)
    servers.scripts.append(script)
    return script


def _ended_within(script: Script, seconds: float) -> bool:
    """Wait so long, or until a script has ended; whether it has."""
    try:
        script.process.wait(seconds)
    except subprocess.TimeoutExpired:
        return False
    return True


def _compare(uri: str, directory: Path, found: Stopped) -> None:
    """Note what is not as it should be: each task has one attempt, which ran once and is done."""
    with Journal(directory / "journal") as journal:
        found.acknowledged = len(journal.changes)
        found.problems += journal.problems(uri) + check_history(uri)
    ran = Counter(map(int, (directory / "ran").read_text().split()))
    engine = create_engine(uri)
    with engine.connect() as connection:
        rows = connection.exec_driver_sql("SELECT id, task_id, status FROM task_instance").all()
    engine.dispose()
    attempts_of = Counter(row[1] for row in rows)
    found.problems += [
        f"task {task} has {count} attempts" for task, count in attempts_of.items() if count > 1
    ]
    found.problems += [
        f"attempt {row[0]} is {row[2]} and ran {ran[row[0]]} times"
        for row in rows
        if row[2] != "D" or ran[row[0]] != 1
    ]
