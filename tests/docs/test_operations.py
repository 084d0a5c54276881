"""The operators' page, followed word by word on each database."""

from __future__ import annotations

import os
import re
import signal
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import make_url

from code_blocks import ROOT, Block, blocks, check, place
from databases import Backend, admin_url, administrator, parameters, require
from processes import free_port, is_gone, wait_until

PAGE = ROOT / "docs" / "operations" / "index.md"
PORT = "8070"

pytestmark = [pytest.mark.e2e, pytest.mark.slow, pytest.mark.parametrize("backend", parameters())]


def steps(backend: Backend) -> list[Block]:
    """The blocks for a database, and those for all."""
    return [block for block in blocks(PAGE) if not block.databases or backend in block.databases]


def administrators_way(backend: Backend) -> dict[str, str]:
    """What leads ``mariadb`` and ``psql`` to the server of the tests; an operator's lead to the one of the machine."""
    if backend is Backend.SQLITE:
        return {}
    url = make_url(admin_url(backend))
    host, port = url.host or "", str(url.port)
    if backend is Backend.MARIADB:
        return {"MYSQL_HOST": host, "MYSQL_TCP_PORT": port, "MYSQL_PWD": str(url.password or "")}
    return {"PGHOST": host, "PGPORT": port, "PGUSER": url.username or ""}


@pytest.fixture
def no_jobmon(backend: Backend) -> Iterator[None]:
    """The name of the page is free on the server, before and after."""
    require(backend)
    forget(backend)
    yield
    forget(backend)


def forget(backend: Backend) -> None:
    if backend is Backend.SQLITE:
        return
    user = "USER IF EXISTS 'jobmon'@'127.0.0.1'" if backend is Backend.MARIADB else "ROLE IF EXISTS jobmon"
    force = "" if backend is Backend.MARIADB else " WITH (FORCE)"
    with administrator(backend) as connection:
        connection.exec_driver_sql(f"DROP DATABASE IF EXISTS jobmon{force}")
        connection.exec_driver_sql(f"DROP {user}")


def test_from_nothing_to_a_server(backend: Backend, no_jobmon: None, tmp_path: Path) -> None:
    """Each command does what the page says; only ports are others here, where the usual ones may be taken."""
    way = administrators_way(backend)
    database_port = way.get("MYSQL_TCP_PORT") or way.get("PGPORT")
    port = str(free_port())
    here = tmp_path / "here"
    printed = ""
    with place(tmp_path) as environment:
        try:
            for block in steps(backend):
                code = block.code.replace(PORT, port)
                code = code.replace("@127.0.0.1/jobmon", f"@127.0.0.1:{database_port}/jobmon")
                printed += check(PAGE, block._replace(code=code), here, {**environment, **way})
        finally:
            pid_file = here / "server.pid"
            if pid_file.exists():
                pid = int(pid_file.read_text())
                if sys.exc_info()[0] is not None and not is_gone(pid):
                    os.kill(pid, signal.SIGTERM)  # the page did not get that far
                wait_until(lambda: is_gone(pid), "the end of the server", 40)
    assert "ended with status D" in printed
    assert re.search(r"my_first_workflow .*DONE", printed)
    secrets = ("jobmon.env", "my.token", "jobmon.dump")
    assert [oct((here / name).stat().st_mode & 0o777) for name in secrets] == ["0o600"] * len(secrets)
