"""The directory that is shared with compute nodes."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from jobmon.core.configuration import JobmonConfig
from jobmon.core.exceptions import UsageError
from jobmon.distributor.shared_directory import SharedDirectory
from jobmon.worker_node import wire


def test_it_is_where_the_configuration_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A tilde and a relative path are made absolute: the nodes know neither."""
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    for named in ("~/here", "here", f"{tmp_path}/x/../here"):
        config = JobmonConfig(dict_config={"distributor": {"shared_directory": named}})
        shared = SharedDirectory.from_config(config, 7)
        assert shared.root == tmp_path / "here" / "workflow_7"


def test_it_is_made_for_its_owner_only(tmp_path: Path) -> None:
    """Whatever the umask, and whoever made it before."""
    shared = SharedDirectory(tmp_path / "a" / "b", 7)
    shared.root.mkdir(parents=True, mode=0o777)
    shared.prepare()
    shared.prepare()
    for directory in (shared.root, shared.batches, shared.spool, shared.logs, shared.cluster_logs):
        assert stat.S_IMODE(directory.stat().st_mode) == 0o700


def test_a_place_that_cannot_be_used(tmp_path: Path) -> None:
    """The message names the place and what to set."""
    (tmp_path / "file").write_text("")
    for base in (tmp_path / "file", Path("/proc/nowhere")):
        with pytest.raises(UsageError, match=r"Set distributor\.shared_directory to a directory") as caught:
            SharedDirectory(base, 7).prepare()
        assert str(base) in str(caught.value)


def test_the_servers_address_is_replaced_as_a_whole(tmp_path: Path) -> None:
    """The wrapper reads it; others may not."""
    shared = SharedDirectory(tmp_path, 7)
    shared.prepare()
    for url in ("http://h:1/api/v3", "http://h:1/api/v3/"):
        shared.write_server(url, "tok", "me")
        address = wire.read_address(os.fsencode(shared.server), "other")
        assert (address.url, address.token, address.user) == ("http://h:1/api/v3", "tok", "me")
    shared.write_server("", "", "")
    address = wire.read_address(os.fsencode(shared.server), "other")
    assert (address.url, address.token, address.user) == ("", "", "other")
    assert stat.S_IMODE(shared.server.stat().st_mode) == 0o600
    assert {path.name for path in shared.root.iterdir()} == {
        "batches",
        "spool",
        "logs",
        "cluster_logs",
        "server",
    }


def test_values_of_more_than_one_line_are_refused(tmp_path: Path) -> None:
    """They would become headers of their own; the message does not repeat a token."""
    shared = SharedDirectory(tmp_path, 7)
    shared.prepare()
    for values in (("http://h\r\nX: y", "t", "u"), ("http://h", "sec\nret", "u"), ("http://h", "t", "u\0")):
        with pytest.raises(UsageError, match="must each be one line") as caught:
            shared.write_server(*values)
        assert "sec" not in str(caught.value)
    assert not shared.server.exists()
