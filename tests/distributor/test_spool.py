"""The spool: words in order, whole or not at all, and nothing that lies there can break it."""

from __future__ import annotations

import logging
from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from jobmon.core.instance_event import InstanceEvent
from jobmon.core.states import TaskInstanceEvent
from jobmon.distributor.spool import Spool
from jobmon.worker_node.reporter import write_spooled

START, FINISH = TaskInstanceEvent.START, TaskInstanceEvent.FINISH


def leave(directory: Path, number: int, event: InstanceEvent) -> Path:
    path = directory / f"{event.task_instance_id}.{number}.json"
    path.write_bytes(msgspec.json.encode(event))
    return path


def test_words_come_in_order_and_stay_until_they_are_acknowledged(tmp_path: Path) -> None:
    """In order of their numbers, not of their names."""
    leave(tmp_path, 10, InstanceEvent(7, FINISH))
    leave(tmp_path, 9, InstanceEvent(7, START))
    leave(tmp_path, 11, InstanceEvent(8, START))
    spool = Spool(tmp_path)
    words = spool.take()
    assert [(word.event.task_instance_id, word.event.event) for word in words] == [
        (7, START),
        (7, FINISH),
        (8, START),
    ]
    assert spool.take() == words
    spool.forget(words[:2])
    assert spool.take() == words[2:]
    spool.forget(words)
    assert (spool.take(), list(tmp_path.iterdir())) == ([], [])


def test_a_spool_that_is_not_there_holds_nothing(tmp_path: Path) -> None:
    """It is made by the first who prepares it."""
    assert Spool(tmp_path / "spool").take() == []


def test_a_spool_that_cannot_be_read_is_complained_of_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """And holds nothing for the moment."""
    (tmp_path / "spool").write_text("")
    spool = Spool(tmp_path / "spool")
    assert [spool.take(), spool.take()] == [[], []]
    assert len(caplog.records) == 1


def test_a_word_cut_off_anywhere_is_left_with_those_behind_it(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """An end without its start would be refused and lost; other attempts do not wait."""
    torn = leave(tmp_path, 1, InstanceEvent(7, START, nodename="n1", description="x"))
    whole = torn.read_bytes()
    leave(tmp_path, 2, InstanceEvent(7, FINISH))
    leave(tmp_path, 3, InstanceEvent(8, START))
    for length in range(len(whole)):
        caplog.clear()
        torn.write_bytes(whole[:length])
        spool = Spool(tmp_path)
        for _ in range(2):
            assert [word.event.task_instance_id for word in spool.take()] == [8]
        (record,) = caplog.records
        assert (record.levelno, f"the file {torn} is incomplete or damaged" in record.getMessage()) == (
            logging.WARNING,
            True,
        )
    torn.write_bytes(whole)
    assert len(spool.take()) == 3


def test_what_is_no_word_is_left_and_told_once(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Files of others, directories, words under a wrong name; what is just being written is no matter."""
    (tmp_path / "notes.txt").write_text("mine")
    (tmp_path / "5.1.json").mkdir()
    (tmp_path / ".6.1.json.123.part").write_text("{")
    leave(tmp_path, 1, InstanceEvent(7, START)).rename(tmp_path / "8.1.json")
    (tmp_path / "9.1.json").write_text('{"task_instance_id": 9, "event": "explode"}')
    spool = Spool(tmp_path)
    before = sorted(tmp_path.iterdir())
    assert [spool.take(), spool.take()] == [[], []]
    assert sorted(tmp_path.iterdir()) == before
    told = sorted(record.getMessage().partition(str(tmp_path))[2].split()[0] for record in caplog.records)
    assert told == ["/5.1.json", "/8.1.json", "/9.1.json", "/notes.txt"]


@given(
    st.dictionaries(
        st.text("0123456789.json-x\n", min_size=1, max_size=20), st.binary(max_size=80), max_size=6
    )
)
def test_nothing_that_lies_there_raises(
    tmp_path_factory: pytest.TempPathFactory, files: dict[str, bytes]
) -> None:
    """Whatever it is called and whatever it holds."""
    directory = tmp_path_factory.mktemp("spool")
    for name, content in files.items():
        if name.strip("."):
            (directory / name).write_bytes(content)
    spool = Spool(directory)
    spool.forget(spool.take())


def test_a_word_of_the_wrapper_is_written_as_a_whole(tmp_path: Path) -> None:
    """For its owner only; where it cannot be written, nothing is left of it."""
    path = write_spooled(bytes(tmp_path), "7.1.json", b'{"task_instance_id":7,"event":"start"}')
    assert Path(path.decode()).stat().st_mode & 0o777 == 0o600
    assert [word.event for word in Spool(tmp_path).take()] == [InstanceEvent(7, START)]
    with pytest.raises(OSError, match="No such file"):
        write_spooled(bytes(tmp_path / "no"), "7.1.json", b"{}")
