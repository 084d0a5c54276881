"""Workflows on the real Slurm, as users run them: from the control script to what the database and the cluster keep."""

from __future__ import annotations

import csv
import itertools
import re
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from flow import SlurmPlace, new_slurm_place
from processes import wait_until

pytestmark = [pytest.mark.e2e]

EXAMPLE = Path(__file__).resolve().parents[2] / "examples" / "life_expectancy"


@pytest.fixture
def place(tmp_path: Path, job_prefix: str, database_template: Path) -> Iterator[SlurmPlace]:
    """A server and scripts of this test alone, whose tasks run on Slurm."""
    yield from new_slurm_place(tmp_path / "place", job_prefix, database_template)


def spans(place: SlurmPlace) -> list[tuple[int, int]]:
    """When each of the tasks began and ended, in nanoseconds, as it wrote it itself."""
    lines = [path.read_text().split() for path in place.work.glob("span.*")]
    return [(int(line[0]), int(line[1])) for line in lines if len(line) == 2]


def timed(place: SlurmPlace, name: str, command: str) -> dict[str, str]:
    """A task that writes when it began and when it ended around a command."""
    path = place.work / f"span.{name}"
    return {"name": name, "command": f"date +%s%N > {path}; {command}; date +%s%N >> {path}"}


def most_at_once(spans: list[tuple[int, int]]) -> int:
    """Most spans that have a moment in common."""
    changes = sorted([(begin, 1) for begin, _ in spans] + [(end, -1) for _, end in spans])
    return max(itertools.accumulate(change for _, change in changes))


def test_ten_tasks_are_one_array(place: SlurmPlace) -> None:
    """All are done, each once, on nodes of the cluster, under ids of one array, by one submission."""
    names = [f"t{number}" for number in range(10)]
    result = place.run_flow([place.task(name) for name in names])
    assert (result["status"], result["done"]) == ("D", 10)
    assert place.num_starts(*names) == [1] * 10
    assert place.num_commands("sbatch") == 1
    rows = place.sql("SELECT distributor_id, exit_code FROM task_instance ORDER BY array_step_id")
    (array,) = {row[0].partition("_")[0] for row in rows}
    assert rows == [(f"{array}_{step + 1}", 0) for step in range(10)]


@pytest.mark.slow
def test_a_thousand_tasks(place: SlurmPlace) -> None:
    """Few submissions and few questions, whatever their number; all are done, each once."""
    count = 1000
    path = place.work / "started"
    tasks = [{"name": f"t{number}", "command": f"echo {number} >> {path}"} for number in range(count)]
    result = place.start_flow(tasks).result(timeout_seconds=100)
    assert (result["status"], result["done"]) == ("D", count)
    assert sorted(map(int, path.read_text().split())) == list(range(count))
    assert place.num_commands("sbatch") == 1
    assert place.num_commands("sacct") == 0  # they tell their ends themselves
    assert place.scalar("SELECT count(DISTINCT distributor_id) FROM task_instance") == count


def test_the_example(place: SlurmPlace) -> None:
    """Life expectancy in 142 countries with ``--cluster slurm``: the figure is there, and nothing is left to do."""
    example = Path(shutil.copytree(EXAMPLE, place.work / "example", ignore=shutil.ignore_patterns("results")))
    words = [sys.executable, example / "run.py", "--cluster", "slurm"]
    script = place.start(words)
    assert script.end(100) == 0, script.text
    results = example / "results"
    assert (results / "life_expectancy.png").read_bytes().startswith(b"\x89PNG")
    with open(results / "life_expectancy.csv", encoding="utf-8", newline="") as file:
        assert len(list(csv.DictReader(file))) == 142
    clusters = place.sql(
        "SELECT DISTINCT c.name, q.name FROM task_instance i JOIN task_resources r ON r.id = i.task_resources_id "
        "JOIN queue q ON q.id = r.queue_id JOIN cluster c ON c.id = q.cluster_id"
    )
    assert clusters == [("slurm", "short")], "the default queue of the cluster"
    again = place.start(words)
    assert again.end() == 0
    assert "is already complete" in again.text
    assert "run.py --cluster slurm --new" in again.text


def test_dependencies_over_two_queues(place: SlurmPlace) -> None:
    """Tasks of a diamond in two partitions start after all of their upstreams have ended; each runs where it asked to."""
    layers = [["root"], ["a1", "a2", "a3"], ["b1", "b2"], ["last"]]
    queues = ["short", "long", "short", "long"]
    tasks, before = [], []
    for layer, queue in zip(layers, queues, strict=True):
        for name in layer:
            command = timed(place, name, "echo $SLURM_JOB_PARTITION > where." + name)["command"]
            resources = {"queue": queue}
            tasks.append(
                {"name": name, "command": command, "upstream": before, "compute_resources": resources}
            )
        before = layer
    result = place.run_flow(tasks)
    assert (result["status"], result["done"]) == ("D", 7)
    times = {
        name: [int(word) for word in (place.work / f"span.{name}").read_text().split()]
        for layer in layers
        for name in layer
    }
    for earlier, later in itertools.pairwise(layers):
        assert max(times[name][1] for name in earlier) <= min(times[name][0] for name in later)
    for layer, queue in zip(layers, queues, strict=True):
        assert {(place.work / f"where.{name}").read_text().strip() for name in layer} == {queue}


def test_a_failure_is_tried_again_and_told(place: SlurmPlace) -> None:
    """A task that always fails is tried as often as it may be; the errors show its words, and what waits for it rests."""
    words = "the data of Atlantis are missing"
    result = place.run_flow(
        [
            place.task("good"),
            place.task("bad", then=f"echo {words} >&2; exit 3", max_attempts=2),
            place.task("after", upstream=["bad"]),
        ]
    )
    assert (result["status"], result["done"], result["failed"]) == ("E", 1, 1)
    assert place.num_starts("good", "bad", "after") == [1, 2, 0]
    shown = place.jobmon("workflow", "errors", result["workflow_id"])
    assert words in shown
    assert "exit code 3" in shown or "code 3" in shown
    explained = place.explain("bad")
    assert "all of its attempts are used up (2 of 2)" in explained
    assert words in explained
    assert place.sql("SELECT DISTINCT exit_code, cause FROM task_instance WHERE exit_code != 0") == [
        (3, "code")
    ]


def test_it_succeeds_the_second_time(place: SlurmPlace) -> None:
    """A failure that passes costs an attempt and nothing else; the logs of both are kept."""
    fails_once = "if [ ! -e been ]; then touch been; echo first; exit 1; fi; echo second"
    result = place.run_flow([place.task("flaky", then=fails_once), place.task("after", upstream=["flaky"])])
    assert (result["status"], result["done"]) == ("D", 2)
    logs = [
        Path(row[0]).read_text()
        for row in place.sql(
            "SELECT i.stdout FROM task_instance i JOIN task t ON t.id = i.task_id WHERE t.name = 'flaky' ORDER BY i.id"
        )
    ]
    assert logs == ["first\n", "second\n"]


@pytest.mark.slow
def test_a_limit_of_an_array_is_left_to_slurm(place: SlurmPlace) -> None:
    """Forty tasks, three at once: one submission, and never more than three run."""
    template = f"{place.prefix}-limited"
    tasks = [{**timed(place, f"t{n}", "sleep 0.3"), "template": template} for n in range(40)]
    script = place.start_flow(tasks, template_limits={template: 3})
    assert script.result(timeout_seconds=100)["done"] == 40
    times = spans(place)
    assert len(times) == 40
    assert most_at_once(times) == 3
    assert place.num_commands("sbatch") == 1


def test_a_pause_and_its_end(place: SlurmPlace) -> None:
    """With the limit at 0 nothing more starts, what runs goes on; with a limit again all are done."""
    names = [f"t{number}" for number in range(8)]
    script = place.start_flow(
        [place.task(name, gate="go") for name in names], workflow={"max_concurrently_running": 2}
    )
    number = script.wait_for("BOUND")
    wait_until(lambda: sum(place.num_starts(*names)) == 2, "two tasks run")
    place.jobmon("workflow", "concurrency", number, "-m", 0)
    wait_until(place.is_held, "the waiting elements are held back")
    place.open("go")
    wait_until(
        lambda: place.scalar("SELECT count(*) FROM task WHERE status = 'D'") == 2, "the end of what ran"
    )
    assert sum(place.num_starts(*names)) == 2
    (waiting,) = place.sql("SELECT DISTINCT queue_reason FROM task_instance WHERE status = 'O'")
    assert waiting[0] in (None, ""), "it is no trouble that it waits as it was told"
    place.jobmon("workflow", "concurrency", number, "-m", 4)
    assert script.result(timeout_seconds=60)["done"] == 8
    assert place.num_starts(*names) == [1] * 8
    assert place.num_commands("sbatch") == 1


def test_awkward_text_arrives_as_it_is(place: SlurmPlace) -> None:
    """Quotes, dollars, newlines, backslashes and letters of all scripts, in commands and in names."""
    texts = {
        "plain": "plain",
        "quotes": 'it\'s "quoted" `twice` $HOME \\n',
        "lines": "one\ntwo\n\nfour",
        "letters": "žluťoučký kůň 日本語 🐎 e\u0301",
        "signs": "%A_%a * ? ~ # ! & | ; < > ( ) { } [ ]",
        "dashes": "--array=1-9 -x",
    }
    tasks = []
    for name, text in texts.items():
        quoted = "'" + text.replace("'", "'\\''") + "'"
        tasks.append({"name": f"náme-{name}", "command": f"printf %s {quoted} > {place.work}/out.{name}"})
    result = place.run_flow(tasks)
    assert (result["status"], result["done"]) == ("D", len(texts)), result
    found = {name: (place.work / f"out.{name}").read_text() for name in texts}
    assert found == texts
    assert place.num_commands("sbatch") == 1


def test_a_name_that_is_none_for_slurm(place: SlurmPlace) -> None:
    """Templates and workflows may be called as one likes; the job gets a name that Slurm takes."""
    template = f"{place.prefix} ünïted/& 50% 'done'"
    result = place.run_flow([{**place.task("t"), "template": template}])
    assert result["status"] == "D", result
    (name,) = place.sql("SELECT name FROM batch")[0]
    assert re.fullmatch(r"[A-Za-z0-9_.-]+", name)
