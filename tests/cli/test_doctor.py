"""``jobmon doctor``: each fault is found, named, and has its remedy; nothing is changed and no server started."""

from __future__ import annotations

import json
import socket
import threading
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from importlib.metadata import EntryPoint
from pathlib import Path
from typing import Any

import pytest
from command_line import Run

from jobmon.client.commands import doctor
from jobmon.client.commands.doctor import FAIL, OK, WARN, Finding
from jobmon.core import __version__, local_server
from jobmon.core.configuration import JobmonConfig
from jobmon.core.requester import Requester
from jobmon.plugins.multiprocess import MultiprocessDistributor
from jobmon.serializers.diagnosis import DiagnosisResponse

check_scripts = doctor.check_scripts


@pytest.fixture(autouse=True)
def _only_this_installation(monkeypatch: pytest.MonkeyPatch) -> None:
    """What else is installed where the tests run is not looked at."""
    monkeypatch.setattr(doctor, "check_scripts", list)


def by_check(findings: list[Finding]) -> dict[str, Finding]:
    return {finding.check: finding for finding in findings}


def states(findings: list[Finding]) -> dict[str, str]:
    return {finding.check: finding.state for finding in findings}


def test_a_new_installation_is_well(run: Run, directory: Path) -> None:
    """No file, no server, no directory; and afterwards there is none either."""
    result = run("doctor", "-o", "json")
    assert result.exit_code == 0, result.output
    found = [Finding(**each) for each in json.loads(result.stdout)]
    assert set(states(found).values()) == {OK}
    assert by_check(found)["server"].text == "local; not running, starts by itself when it is needed"
    assert "/bin/sh" in by_check(found)["cluster multiprocess"].text
    assert not (directory / "jobmon").exists()


def test_through_a_server(run: Run, requester: Requester, monkeypatch: pytest.MonkeyPatch) -> None:
    """Versions, schema, clock and every cluster the database knows."""
    monkeypatch.setenv("JOBMON__HTTP__SERVICE_URL", "http://testserver")
    result = run("doctor")
    assert result.exit_code == 0, result.output
    lines = {line[6:].split("  ")[0].strip(): line for line in result.stdout.splitlines()}
    assert f"version {__version__}, answers in" in lines["server"]
    assert "sqlite" in lines["database"]
    assert "schema 0" in lines["database"]
    assert "s from the database's" in lines["clock"]
    assert {"cluster dummy", "cluster multiprocess", "cluster sequential"} <= set(lines)


def test_a_local_server_that_is_dead_is_no_matter(
    run: Run, directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its record is left alone. One that runs on another host is named."""
    place = directory / "jobmon"
    place.mkdir()
    record = {"url": "http://x", "token": "t", "pid": 1, "hostname": "h", "version": "1", "started_at": 0}
    (place / "server.json").write_text(json.dumps(record))
    assert "not running" in run("doctor").stdout
    monkeypatch.setattr(local_server, "is_serving", lambda files: True)
    result = run("doctor")
    assert (result.exit_code, "runs on host h" in result.stdout) == (1, True)


def test_a_server_that_does_not_answer(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody listens: at once. Somebody who says nothing: within the limit. Where the address comes from is said."""
    monkeypatch.setattr(doctor, "LIMIT_SECONDS", 0.2)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        monkeypatch.setenv("JOBMON__HTTP__SERVICE_URL", f"http://127.0.0.1:{port}")
        started = time.monotonic()
        result = run("doctor")
        assert time.monotonic() - started < 5
        assert result.exit_code == 1
        assert "(JOBMON__HTTP__SERVICE_URL) does not answer" in result.stdout
        assert "ReadTimeout" in result.stdout
    result = run("doctor")
    assert (result.exit_code, "Connection refused" in result.stdout) == (1, True)
    assert "→ Is the address right" in result.stdout


@pytest.mark.parametrize(
    ("content", "state", "words"),
    [
        ("http: [", FAIL, "cannot be read"),
        ("http: {sevice_url: x}", WARN, "http.sevice_url"),
        ("nope: {x: 1}", WARN, "section nope"),
        ("http: {request_timeout: soon}", FAIL, "must be a number"),
        ("embedded: {allow_network_filesystem: maybe}", FAIL, "must be true or false"),
        ("cors: {allowed_origins: x}", WARN, "without effect in this version: cors.allowed_origins"),
        ("db: {sqlalchemy_database_uri: 'mysql://u:secret@h/d'}", WARN, "others may read it (mode 644)"),
        ("auth: {enabled: false}\nhttp:\n", OK, "config.yaml"),
    ],
)
def test_configuration(
    run: Run, directory: Path, content: str, state: str, words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = directory / "config.yaml"
    path.write_text(content)
    path.chmod(0o644)
    monkeypatch.setenv("JOBMON__CONFIG_FILE", str(path))
    result = run("doctor", "-o", "json")
    findings = [Finding(**each) for each in json.loads(result.stdout)]
    (found,) = [each for each in findings if each.check == "configuration" and words in each.text]
    assert found.state == state
    assert bool(found.remedy) == (state != OK)
    assert result.exit_code == (1 if state == FAIL else 0)
    assert "secret" not in result.stdout.replace("holds secrets", "")


def test_tokens_and_directories(directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    token = directory / "token"
    config = JobmonConfig(
        dict_config={"http": {"token_file": str(token)}, "embedded": {"directory": str(directory / "jobmon")}}
    )
    (_, missing) = doctor.check_configuration(config, [])
    assert (missing.state, "cannot be read" in missing.text) == (FAIL, True)
    token.write_text("t")
    token.chmod(0o640)
    (_, loose) = doctor.check_configuration(config, [])
    assert (loose.state, loose.remedy) == (WARN, f"chmod 600 {token}")
    token.chmod(0o600)
    assert [each.state for each in doctor.check_configuration(config, [])] == [OK]

    usage = doctor.shutil.disk_usage(directory)
    for free, state in ((10**12, OK), (5 * 10**8, WARN), (10**6, FAIL)):
        monkeypatch.setattr(doctor.shutil, "disk_usage", lambda path, free=free: usage._replace(free=free))
        assert [each.state for each in doctor.check_directories(config)] == [state]
    monkeypatch.undo()
    monkeypatch.setattr(doctor, "filesystem_type", lambda path: "nfs4")
    assert [each.state for each in doctor.check_directories(config)] == [OK, FAIL]
    (directory / "file").touch()
    config.set("embedded", "directory", str(directory / "file" / "below"))
    assert "cannot be written" in next(iter(doctor.check_directories(config))).text


@pytest.mark.parametrize(
    ("server", "state"),
    [(__version__, None), ("0.9.0", FAIL), (f"{__version__.split('.')[0]}.99.0", WARN)],
)
def test_versions_that_differ(server: str, state: str | None) -> None:
    assert [each.state for each in doctor._check_skew(server)] == ([] if state is None else [state])


def test_database_and_clock() -> None:
    now = datetime.now(UTC).replace(tzinfo=None)

    def diagnosis(revision: str, skew: float) -> DiagnosisResponse:
        time = (now - timedelta(seconds=skew)).isoformat()
        return DiagnosisResponse(__version__, "sqlite 3", revision, "0002", time, {})

    (well,) = doctor._check_database(diagnosis("0002", 0))
    (old,) = doctor._check_database(diagnosis("0001", 0))
    assert (well.state, old.state, old.remedy) == (OK, FAIL, "On the server: jobmon-server db upgrade")
    for skew, state, word in ((0, OK, ""), (60, WARN, "ahead of"), (-60, WARN, "behind")):
        (found,) = doctor._check_clock(diagnosis("0002", skew))
        assert (found.state, word in found.text) == (state, True)


class TestClusters:
    """A plugin is somebody else's code: it may say what is wrong, raise, or never come back."""

    @pytest.fixture
    def release(self) -> Iterator[threading.Event]:
        event = threading.Event()
        yield event
        event.set()

    def check(self, monkeypatch: pytest.MonkeyPatch, diagnose: Any) -> list[Finding]:
        monkeypatch.setattr(MultiprocessDistributor, "diagnose", diagnose)
        return list(doctor._check_cluster("multiprocess", lambda: doctor._diagnose_local("multiprocess")))

    def test_says_what_is_wrong(self, monkeypatch: pytest.MonkeyPatch) -> None:
        answer = [("sbatch", False, "sbatch is not on PATH"), ("squeue", True, "fine")]
        (found,) = self.check(monkeypatch, lambda self: answer)
        assert (found.state, found.text) == (FAIL, "sbatch: sbatch is not on PATH")

    def test_raises(self, monkeypatch: pytest.MonkeyPatch) -> None:
        def diagnose(self: object) -> None:
            raise OSError("no such host")

        (found,) = self.check(monkeypatch, diagnose)
        assert (found.state, found.text) == (FAIL, "OSError: no such host")

    def test_never_comes_back(self, monkeypatch: pytest.MonkeyPatch, release: threading.Event) -> None:
        monkeypatch.setattr(doctor, "LIMIT_SECONDS", 0.1)
        (found,) = self.check(monkeypatch, lambda self: release.wait(60))
        assert (found.state, "did not answer" in found.text) == (FAIL, True)


class TestCommandsOfOthers:
    """Other projects install a command ``jobmon``, or modules of ours."""

    class Distribution:
        def __init__(self, name: str, script: str) -> None:
            self.metadata = {"Name": name}
            self.entry_points = [EntryPoint(script, "x:main", "console_scripts")]

    def scripts(self, monkeypatch: pytest.MonkeyPatch, *others: tuple[str, str]) -> list[Finding]:
        installed = [self.Distribution("jobmon", "jobmon"), *(self.Distribution(*each) for each in others)]
        monkeypatch.setattr(doctor, "distributions", lambda: installed)
        return list(check_scripts())

    @pytest.mark.parametrize("other", [("jobmon_slurm", "jobmon"), ("jobmon-core", "jobmon_config")])
    def test_they_are_named(self, monkeypatch: pytest.MonkeyPatch, other: tuple[str, str]) -> None:
        (found,) = self.scripts(monkeypatch, other, ("ruff", "ruff"))
        assert found.state == FAIL
        assert f"pip uninstall {other[0].replace('_', '-')} &&" in found.remedy

    def test_path(self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
        (tmp_path / "jobmon").touch(mode=0o755)
        monkeypatch.setattr(doctor.sysconfig, "get_path", lambda name: str(tmp_path / "ours"))
        for path, words in ((str(tmp_path), "on PATH is"), (str(tmp_path / "no"), "is not on PATH")):
            monkeypatch.setattr(doctor, "distributions", list)
            monkeypatch.setenv("PATH", path)
            (found,) = check_scripts()
            assert (found.state, words in found.text) == (WARN, True)
