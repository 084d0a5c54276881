"""The directory of a local server: what can be told from its files, without starting anything."""

from __future__ import annotations

import fcntl
import os
import socket
import stat
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec
import pytest

from jobmon.core import local_server
from jobmon.core.configuration import JobmonConfig
from jobmon.core.exceptions import LocalServerError
from jobmon.core.local_server import LocalServerFiles, ServerRecord, filesystem_type
from jobmon.server.embedded import write_record

MOUNTS = """\
/dev/sda1 / ext4 rw 0 0
server:/export /home nfs4 rw,vers=4.2 0 0
tmpfs /home/ada/local\\040disk tmpfs rw 0 0
odd line
server:/export /homer nfs rw 0 0
"""


@pytest.fixture
def files(tmp_path: Path) -> LocalServerFiles:
    """An empty directory of a server."""
    files = LocalServerFiles(tmp_path / "jobmon")
    files.prepare()
    return files


def record(**changes: object) -> ServerRecord:
    """The record of a server on this host."""
    here = ServerRecord("http://127.0.0.1:1", "token", os.getpid(), socket.gethostname(), "4", 0.0)
    return msgspec.structs.replace(here, **changes)


@contextmanager
def held(path: Path) -> Iterator[None]:
    """Somebody holds a lock."""
    with open(path, "ab") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


@pytest.mark.parametrize(
    ("path", "kind"),
    [
        ("/home/ada/.jobmon", "nfs4"),
        ("/home", "nfs4"),
        ("/home/ada/local disk/x", "tmpfs"),
        ("/homer/x", "nfs"),
        ("/homes/x", "ext4"),
        ("/", "ext4"),
    ],
)
def test_the_filesystem_is_that_of_the_longest_mount_point(path: str, kind: str) -> None:
    """Blanks in names are written as octal numbers."""
    assert filesystem_type(Path(path), MOUNTS) == kind


def test_an_unknown_filesystem_is_no_obstacle(files: LocalServerFiles) -> None:
    """No mounts, no complaint."""
    assert filesystem_type(Path("/x"), "") == ""
    files.prepare(mounts="")


@pytest.mark.parametrize("kind", sorted(local_server.NETWORK_FILESYSTEMS))
def test_a_network_filesystem_is_refused_with_the_remedy(kind: str, tmp_path: Path) -> None:
    """Unless it is asked for."""
    files, mounts = LocalServerFiles(tmp_path / "x"), f"server:/ / {kind} rw 0 0"
    with pytest.raises(
        LocalServerError, match=f"network filesystem \\({kind}\\).*EMBEDDED__DIRECTORY"
    ) as caught:
        files.prepare(mounts=mounts)
    assert "ALLOW_NETWORK_FILESYSTEM=true" in str(caught.value)
    files.prepare(mounts=mounts, allow_network_filesystem=True)


def test_a_directory_that_cannot_be_written_is_refused_with_the_remedy(tmp_path: Path) -> None:
    """And with the reason."""
    (tmp_path / "file").touch()
    with pytest.raises(
        LocalServerError, match=r"cannot write there \(Not a directory\).*EMBEDDED__DIRECTORY"
    ):
        LocalServerFiles(tmp_path / "file" / "jobmon").prepare()


def test_the_directory_is_its_owners_alone(files: LocalServerFiles) -> None:
    """The record holds the token."""
    assert stat.S_IMODE(files.directory.stat().st_mode) == 0o700
    write_record(files, record())
    assert stat.S_IMODE(files.record.stat().st_mode) == 0o600
    assert local_server.read_record(files) == record()


def test_a_record_without_a_server_is_stale(files: LocalServerFiles) -> None:
    """Only the lock says that a server is alive."""
    write_record(files, record())
    assert local_server.running_server(files) is None
    files.serve_lock.touch()
    assert local_server.running_server(files) is None
    with held(files.serve_lock):
        assert local_server.running_server(files) == record()
    assert local_server.running_server(files) is None


def test_looking_does_not_disturb_the_lock(files: LocalServerFiles) -> None:
    """Who looks lets go at once."""
    files.serve_lock.touch()
    assert not local_server.is_serving(files)
    with open(files.serve_lock, "ab") as file:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)


@pytest.mark.parametrize("text", [b"", b"{", b"\xff\xfe", b'{"url": 5}', b"[]"])
def test_a_corrupted_record_is_no_record(
    files: LocalServerFiles, text: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The server that is alive is given time to write it again; without one nothing is waited for."""
    files.record.write_bytes(text)
    assert local_server.read_record(files) is None
    assert local_server.running_server(files) is None
    monkeypatch.setattr(local_server, "RECORD_SECONDS", 0.05)
    with held(files.serve_lock):
        assert local_server.running_server(files) is None


def test_a_record_that_is_written_again_is_found(
    files: LocalServerFiles, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By who waits for it."""
    files.record.write_bytes(b"{")
    monkeypatch.setattr(local_server.time, "sleep", lambda _: write_record(files, record()))
    with held(files.serve_lock):
        assert local_server.running_server(files) == record()


def test_a_server_on_another_host_cannot_be_used_from_here(files: LocalServerFiles) -> None:
    """The error names host, process and remedy."""
    write_record(files, record(hostname="node7.example", pid=77))
    with held(files.serve_lock), pytest.raises(LocalServerError, match=r"node7\.example \(process 77\)"):
        local_server.running_server(files)


def test_a_lock_that_never_becomes_free_ends_the_wait(files: LocalServerFiles) -> None:
    """With what was waited for."""
    lock = local_server.exclusive_lock(files.start_lock, 0.05, "the start")
    with held(files.start_lock), pytest.raises(LocalServerError, match="the start did not become free"), lock:
        pass


def test_stopping_nothing_is_no_error(files: LocalServerFiles) -> None:
    """None was alive."""
    assert local_server.stop(files) is None


def test_the_directory_is_that_of_the_configuration(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With ``~`` expanded."""
    monkeypatch.delenv("JOBMON__EMBEDDED__DIRECTORY")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert LocalServerFiles.from_config(JobmonConfig()).directory == tmp_path / ".jobmon"


def test_the_server_is_told_what_dotenv_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It starts in a directory of its own; what the environment says counts more."""
    monkeypatch.setenv("JOBMON__HTTP__REQUEST_TIMEOUT", "1")
    config = JobmonConfig()
    config.dotenv = {"JOBMON__HTTP__REQUEST_TIMEOUT": "2", "JOBMON__EMBEDDED__IDLE_SHUTDOWN_SECONDS": "3"}
    given: dict[str, str] = {}

    def run(argv: list[str], *, env: dict[str, str], **settings: object) -> subprocess.CompletedProcess[str]:
        given.update(env)
        return subprocess.CompletedProcess(argv, 0, "", "")

    monkeypatch.setattr(local_server.subprocess, "run", run)
    monkeypatch.chdir(tmp_path)
    config.filepath = "site.yaml"
    local_server._start(LocalServerFiles(tmp_path / "elsewhere"), 1, config)
    assert given["JOBMON__CONFIG_FILE"] == str(tmp_path / "site.yaml")
    assert given["JOBMON__HTTP__REQUEST_TIMEOUT"] == "1"
    assert given["JOBMON__EMBEDDED__IDLE_SHUTDOWN_SECONDS"] == "3"
