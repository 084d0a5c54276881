"""Attempts that are killed without a word where nobody can ask the accounting: how they ended, and later what they used."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import lab
import pytest

from flow import QUICK, SHIM, SlurmPlace, new_slurm_place
from jobmon.core.configuration import JobmonConfig
from jobmon.server.services.usage_integrator import SETTLE_SECONDS, UsageIntegrator
from jobmon.server.web import dialect
from jobmon.server.web.database import Database

pytestmark = [pytest.mark.e2e]

MEBIBYTE = 1 << 20
NO_ACCOUNTING = "#!/bin/sh\necho 'Slurm accounting storage is disabled' >&2\nexit 1\n"
IS_KILLED = (
    "{ [ -e once ] || { touch once; WRAPPER=$PPID python3 -c 'import os, time; x = bytearray(80 << 20); "
    'x[::4096] = bytes([1]) * len(x[::4096]); time.sleep(5); os.kill(int(os.environ["WRAPPER"]), 9); '
    "time.sleep(600)'; }; }"
)
"""The first time needs 80 MiB for longer than Slurm's samples are apart, and ends its wrapper."""
INTEGRATE = "from jobmon.server.cli import main; main()"


@pytest.fixture
def place(tmp_path: Path, job_prefix: str, database_template: Path) -> Iterator[SlurmPlace]:
    """A server and scripts of this test alone, whose tasks run on Slurm."""
    yield from new_slurm_place(tmp_path / "place", job_prefix, database_template, **QUICK)


def used(place: SlurmPlace) -> tuple[int | None, float | None, float | None]:
    """Memory, run time and CPU time of the first attempt, as far as they are known."""
    (row,) = place.sql("SELECT maxrss, wallclock, cpu FROM task_instance WHERE id = 1")
    return row[0], row[1], row[2]


@pytest.mark.slow
def test_the_accounting_cannot_be_asked(place: SlurmPlace) -> None:
    """The run goes by what Slurm's controller remembers; the usage integrator, where it can be, fills in the rest."""
    place.shim("sacct", NO_ACCOUNTING)
    tasks = [place.task("a", then=IS_KILLED), place.task("b", upstream=["a"])]
    assert place.run_flow(tasks, asked={"memory": "200M"})["status"] == "D"
    assert place.all_attempts("ab") == ["ED", "D"]
    assert "The job was ended by signal 9 (SIGKILL)" in place.errors("a")
    assert used(place)[0] is None
    place.shim("sacct", SHIM.format(name="sacct", log=place.root / "commands", program="/usr/bin/sacct"))
    place.configure(db__sqlalchemy_database_uri=place.uri)
    script = place.start([sys.executable, "-c", INTEGRATE, "usage-integrator", "start", "--once"])
    assert script.end() == 0, script.text
    assert script.text.startswith(("Filled in: 0 attempts. Not known yet: 1.", "Filled in: 1 attempts."))
    database = Database(place.uri)
    integrator = UsageIntegrator.from_config(JobmonConfig(), database)
    with database.read() as connection:
        later = dialect.utcnow(connection) + timedelta(seconds=SETTLE_SECONDS)
    try:
        lab.wait_for(lambda: integrator.run_once(later).lacking == 0, "the accounting to know it")
    finally:
        integrator.close()
        database.dispose()
    maxrss, wallclock, cpu = used(place)
    assert maxrss is not None
    assert 80 * MEBIBYTE <= maxrss <= 200 * MEBIBYTE
    assert wallclock is not None
    assert 4 <= wallclock <= 60
    assert cpu is not None
