"""The measurements of the institute's load work; what they measure is nobody's business here."""

from __future__ import annotations

import asyncio

import pytest
from bench.load import Client, Kind, Servers, Shape, Simulation, database, soak
from bench.load.__main__ import LONG, PAGE, REPLICAS, SHORT, cells, main, write
from bench.load.client import Refused, path_with
from bench.load.measures import MEASURES, Measure, percentile
from bench.load.run import event_of_end

from jobmon.serializers.worker import WorkerResponse


@pytest.mark.parametrize("name", [SHORT, *LONG, REPLICAS])
def test_the_page_has_a_place_for_each_table(name):
    """``--write`` finds its marks in docs/performance.md."""
    text = PAGE.read_text(encoding="utf-8")
    assert text.index(f"<!-- {name} -->") < text.index(f"<!-- end of {name} -->")


def test_the_table_replaces_that_of_the_page(tmp_path):
    """A column for each database; everything outside the two marks stays as it is."""
    page = tmp_path / "page.md"
    page.write_text("above\n<!-- memory -->\nold\n<!-- end of memory -->\nbelow\n", encoding="utf-8")
    row = cells(Measure("bind", "s", lambda _: 0, 15), [3.0, None])
    write(page, "memory", [Kind.SQLITE, Kind.MARIADB], [row], "On a machine.")
    text = page.read_text(encoding="utf-8")
    assert "| what | budget | SQLite | MariaDB | ok? |" in text
    assert "| bind | ≤ 15 s | 3 s | ? | yes |" in text
    assert (text.startswith("above\n"), text.endswith("below\n"), "old" in text) == (True, True, False)


@pytest.mark.parametrize(
    ("values", "at_least", "expected"),
    [([1, 2], False, "yes"), ([1, 3], False, "NO"), ([3, 2], True, "yes"), ([None], True, "–")],
)
def test_a_budget_is_kept_only_where_every_database_keeps_it(values, at_least, expected):
    """Upper and lower limits, and what was not measured."""
    assert cells(Measure("x", "s", lambda _: 0, 2, at_least), values)[-1] == expected


def test_every_line_fits_into_the_table():
    """No name breaks it."""
    assert not [each for lines in MEASURES.values() for each in lines if "|" in each.name]


def test_a_percentile_is_one_of_the_values():
    """Whatever their order."""
    assert percentile([3.0, 1.0, 2.0], 0.5) == 2.0
    assert percentile([1.0], 0.99) == 1.0


def test_the_growth_of_memory_is_told_with_its_error():
    """A line has its slope and no error; what only goes up and down has an error that is larger than its slope."""
    hour = 3600 / soak.SAMPLE_SECONDS
    line = soak.slope_of([1e6 + 36e6 * n / hour for n in range(100)])
    assert line.per_hour == pytest.approx(36e6)
    assert line.error == pytest.approx(0, abs=1)
    saw = soak.slope_of([1e6 * (n // 10 % 2) for n in range(100)])
    assert abs(saw.per_hour) < 2 * saw.error
    with pytest.raises(ValueError, match="too few"):
        soak.slope_of([1.0] * 19)


def test_a_query_is_part_of_the_path():
    """As a client sends it."""
    assert path_with("/feed", after=1, known_status="R") == "/feed?after=1&known_status=R"


@pytest.mark.e2e
def test_what_the_server_refuses_is_not_sent_again(tmp_path):
    """The client says what the server said."""

    async def refused(servers):
        client = Client(servers.urls)
        try:
            path = "/worker/task_instance/99/event"
            with pytest.raises(Refused, match="no task instance 99"):
                await client.send("POST", path, event_of_end(99), WorkerResponse)
        finally:
            await client.close()
        return client.statuses

    with database(Kind.SQLITE) as uri, Servers(uri, tmp_path) as servers:
        assert asyncio.run(refused(servers)) == {404: 1}


@pytest.mark.e2e
def test_a_simulation_is_measured_for_some_time(tmp_path):
    """After all lanes have begun; steps, events and signs of life are among what is told."""
    with database(Kind.SQLITE) as uri, Servers(uri, tmp_path, count=2) as servers:
        simulation = Simulation(Shape(2, 10, 50, 0.3, 0.1), servers.urls)
        outcome = asyncio.run(simulation.run(1.0))
    assert outcome.ended > 0
    assert outcome.step_seconds
    assert outcome.events > 2 * outcome.ended  # beginnings, ends and signs of life
    assert outcome.void == 0


@pytest.mark.e2e
def test_the_command_prints_the_table(capsys):
    """A line for the measurement, here on one database and small."""
    assert main(["heartbeats", "--on", "sqlite", "--scale", "0.01"]) == 0
    printed = capsys.readouterr().out.splitlines()
    assert len(printed) == 2 + 1
    assert not [each for each in printed if "?" in each.replace("ok?", "")]
