"""The batch file: the wrapper reads what was written, or says that it cannot."""

from __future__ import annotations

import stat
import string
import sys
from dataclasses import fields, replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jobmon.core.configuration import JobmonConfig
from jobmon.core.exceptions import UsageError
from jobmon.distributor.batch_file import BatchElement, BatchHeader, read_steps, wrapper_words, write_batch
from jobmon.worker_node import wire

HEADER = BatchHeader(
    version="4.0",
    workflow_id=1,
    workflow_run_id=2,
    cluster_name="slurm",
    user="me",
    server_file="/s/server",
    spool="/s/spool",
    stdout="/logs",
    stderr="",
    working_dir="/work",
    heartbeat_seconds=90.5,
    report_seconds=270.0,
    interrupt_seconds=10.0,
    start_wait_seconds=10.0,
    report_wait_seconds=60.0,
)
BYTES_AS_TEXT = st.binary(max_size=40).map(
    lambda raw: raw.replace(b"\0", b"").decode("utf-8", "surrogateescape")
)
TEXT = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=40) | BYTES_AS_TEXT
NAMES = st.text(string.ascii_letters + "_", min_size=1, max_size=8)
HEADERS = st.builds(
    BatchHeader,
    **{each.name: TEXT for each in fields(BatchHeader) if each.type == "str"},  # type: ignore[arg-type]
    **{each.name: st.integers(0, 2**40) for each in fields(BatchHeader) if each.type == "int"},  # type: ignore[arg-type]
    **{each.name: st.floats(0, 1e9) for each in fields(BatchHeader) if each.type == "float"},  # type: ignore[arg-type]
    shell=st.lists(TEXT, min_size=1, max_size=4).map(tuple),
    environment=st.dictionaries(NAMES, TEXT, max_size=4),
)
ELEMENTS = st.lists(
    st.builds(BatchElement, st.integers(1, 2**62), st.integers(1, 2**62), TEXT, TEXT), max_size=8
)


def raw(text: str) -> bytes:
    return text.encode("utf-8", "surrogateescape")


@given(header=HEADERS, elements=ELEMENTS, padding=st.sampled_from([0, 70_000]))
def test_the_wrapper_reads_what_was_written(
    tmp_path_factory: pytest.TempPathFactory, header: BatchHeader, elements: list[BatchElement], padding: int
) -> None:
    """Every text, byte for byte, of every step; also where the file is longer than what is read at first."""
    path = tmp_path_factory.getbasetemp() / "batch"
    header = replace(header, environment={**header.environment, "P": "x" * padding})
    write_batch(path, header, elements)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    for step, element in enumerate(elements):
        batch = wire.Batch(bytes(path), step)
        assert batch.num_steps == len(elements)
        (read,) = batch.elements
        found = (read.task_instance_id, read.task_id, read.name, read.command)
        assert found == (element.task_instance_id, element.task_id, raw(element.name), raw(element.command))
        assert batch.shell == [raw(word) for word in header.shell]
        assert batch.environment == {raw(name): raw(value) for name, value in header.environment.items()}
        for each in fields(BatchHeader):
            value = getattr(header, each.name)
            if each.type == "str":
                assert batch.values[each.name.encode()] == raw(value)
            elif each.type in ("int", "float"):
                assert batch.number(each.name.encode()) == value
    with pytest.raises(wire.Unreadable, match=f"has no step {len(elements)}"):
        wire.Batch(bytes(path), len(elements))


@given(st.lists(st.integers(1, 5), min_size=1, max_size=12))
def test_several_attempts_of_a_step(tmp_path_factory: pytest.TempPathFactory, sizes: list[int]) -> None:
    """The wrapper reads those of its step, in order; the controller reads which they all are."""
    path = tmp_path_factory.getbasetemp() / "shared"
    ids = iter(range(7, 100))
    steps = [[next(ids) for _ in range(size)] for size in sizes]
    elements = [BatchElement(i, i + 1000, f"n{i}", f"echo {i}") for step in steps for i in step]
    write_batch(path, HEADER, elements, sizes)
    assert read_steps(path) == steps
    for number, step in enumerate(steps):
        found = [(each.task_instance_id, each.command) for each in wire.Batch(bytes(path), number).elements]
        assert found == [(i, f"echo {i}".encode()) for i in step]
        assert [wire.step_of(bytes(path), i) for i in step] == [number] * len(step)


def test_a_file_cut_off_anywhere_is_damaged(tmp_path: Path) -> None:
    """After each of its bytes: the wrapper says so, or reads a step that is whole."""
    path = tmp_path / "batch"
    elements = [BatchElement(10, 20, "a", "echo a"), BatchElement(11, 21, "b", "echo b")]
    write_batch(path, HEADER, elements)
    whole = path.read_bytes()
    for length in range(len(whole)):
        path.write_bytes(whole[:length])
        for step in range(2):
            try:
                batch = wire.Batch(bytes(path), step)
            except wire.Unreadable:
                continue
            assert step == 0
            assert batch.elements[0].command == b"echo a"


def test_steps_are_found_by_their_attempt(tmp_path: Path) -> None:
    """For jobs that are told their attempt instead of their step."""
    path = tmp_path / "batch"
    write_batch(path, HEADER, [BatchElement(i, 1, "n", "true") for i in (17, 5, 11)])
    assert [wire.step_of(bytes(path), i) for i in (17, 5, 11)] == [0, 1, 2]
    with pytest.raises(wire.Unreadable, match="has no task instance 6"):
        wire.step_of(bytes(path), 6)


@pytest.mark.parametrize(
    ("header", "element"),
    [
        (HEADER, BatchElement(1, 1, "n", "a\0b")),
        (HEADER, BatchElement(1, 1, "n\0", "a")),
        (replace(HEADER, working_dir="\0"), BatchElement(1, 1, "n", "a")),
        (replace(HEADER, shell=("sh\0",)), BatchElement(1, 1, "n", "a")),
        (replace(HEADER, environment={"A": "\0"}), BatchElement(1, 1, "n", "a")),
        (replace(HEADER, environment={"A=B": ""}), BatchElement(1, 1, "n", "a")),
        (replace(HEADER, environment={"": "x"}), BatchElement(1, 1, "n", "a")),
        (HEADER, BatchElement(1, 1, "n", "\ud83d")),
    ],
)
def test_what_no_process_can_be_given_is_refused(
    tmp_path: Path, header: BatchHeader, element: BatchElement
) -> None:
    """Before anything is submitted; nothing is written."""
    with pytest.raises(UsageError):
        write_batch(tmp_path / "batch", header, [element])
    assert list(tmp_path.iterdir()) == []


def test_a_file_that_cannot_be_written(tmp_path: Path) -> None:
    """The message says what to set."""
    with pytest.raises(UsageError, match=r"set distributor\.shared_directory"):
        write_batch(tmp_path / "no" / "batch", HEADER, [])
    (tmp_path / "batch").mkdir()
    with pytest.raises(UsageError, match=r"set distributor\.shared_directory"):
        write_batch(tmp_path / "batch", HEADER, [])
    assert [path.name for path in tmp_path.iterdir()] == ["batch"]


def test_how_the_wrapper_is_called() -> None:
    """By this interpreter and this installation, or by the program the nodes have."""
    words = wrapper_words(Path("/b"), JobmonConfig())
    assert words[:3] == (sys.executable, "-I", "-S")
    assert words[-1] == "/b"
    config = JobmonConfig(
        dict_config={"distributor": {"worker_node_entry_point": "/opt/bin/worker_node_entry_point"}}
    )
    assert wrapper_words(Path("/b"), config) == (
        "/opt/bin/worker_node_entry_point",
        "worker_node_array",
        "--batch_file",
        "/b",
    )
