"""What a cluster tells of itself, as limits of queues."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from jobmon.core.batch_cluster import ClusterDescription
from jobmon.core.exceptions import ClusterUnreachable
from jobmon.plugins.slurm.discovery import (
    PARAMETERS_CHARACTERS,
    describe,
    discover,
    fitting,
    limits_of,
    most_gres,
    read_config,
    read_lines,
)
from jobmon.plugins.slurm.queue import SlurmQueue

RECORDED = Path(__file__).parent / "recorded" / "22.05"


def recorded(name: str) -> str:
    """What a command printed, behind the line that names it."""
    return (RECORDED / name).read_text().split("\n", 1)[1]


def described() -> ClusterDescription:
    return describe(
        read_lines(recorded("scontrol-show-partition.txt")),
        read_lines(recorded("scontrol-show-node.txt")),
        read_config(recorded("scontrol-show-config.txt")),
    )


def limits(nodes: list[dict[str, str]] | None = None, **facts: str) -> dict[str, Any]:
    """Limits of a partition with some facts, on these nodes."""
    return limits_of({"PartitionName": "p", **facts}, {"p": nodes or []})


def test_a_real_cluster() -> None:
    """Partitions with their limits, the default one first; memory in GiB, times in seconds."""
    queues = {queue.name: queue.parameters for queue in described().queues}
    assert list(queues) == ["short", "long", "tiny"]
    assert queues["short"] == {
        "cores": [1, 16],
        "memory": [0, 2],
        "runtime": [0, 600],
        "default_runtime": 300,
        "nodes": [1, 4],
        "gres": {},
        "is_default": True,
        "is_up": True,
    }
    assert queues["long"]["runtime"] == [0, 86400]
    assert queues["tiny"]["memory"] == [0, 0.25]
    assert queues["tiny"]["nodes"] == [1, 1]


def test_facts_for_people() -> None:
    """Version, accounting, and that impossible requests would be taken by sbatch."""
    facts = described().facts
    assert facts["Slurm"] == "22.05.8"
    assert facts["accounting"] == "slurmdbd"
    assert facts["steps of an array"] == "100000"
    assert "accepted by sbatch" in facts["impossible requests"]


def test_a_task_that_asks_for_too_much_of_a_real_partition() -> None:
    """The sentence names what was asked for and what there is."""
    tiny = next(queue for queue in described().queues if queue.name == "tiny")
    fits, why = SlurmQueue(1, tiny.name, tiny.parameters).validate_resources(strict=True, memory=1)
    assert (fits, why) == (False, "memory=1 (1 GiB) cannot be had: queue tiny gives at most 256 MiB.")


def test_values_may_hold_blanks_and_equal_signs() -> None:
    """Names of systems, reasons people wrote, lists of resources."""
    (facts,) = read_lines(
        "NodeName=n1 OS=Linux 6.1 #1 SMP  TRES=cpu=64,mem=16G Reason=x=y broken NodeName=z [root@t]"
    )
    assert facts["NodeName"] == "n1"
    assert facts["OS"] == "Linux 6.1 #1 SMP"
    assert facts["TRES"] == "cpu=64,mem=16G"


def test_the_first_partition_is_the_default_one() -> None:
    """However they are listed."""
    found = describe([{"PartitionName": "a"}, {"PartitionName": "b", "Default": "YES"}], [], {})
    assert [queue.name for queue in found.queues] == ["b", "a"]


def test_nothing_known_is_nothing_limited() -> None:
    """Unlimited times and memory, no nodes listed, no numbers."""
    unlimited = dict.fromkeys(("MaxTime", "MaxMemPerNode", "MaxNodes", "MaxCPUsPerNode"), "UNLIMITED")
    assert limits(**unlimited, DefaultTime="NONE", AllowAccounts="ALL", AllowQos="ALL") == {"is_up": True}


def test_the_largest_node_limits() -> None:
    """Nodes differ; one that suits is enough. What the system keeps for itself is not for jobs."""
    nodes = [
        {"CPUTot": "64", "CPUEfctv": "60", "RealMemory": "262144", "MemSpecLimit": "2048"},
        {"CPUTot": "16", "RealMemory": "1048576"},
        {"CPUTot": "128", "CPUEfctv": "128", "RealMemory": "1"},
    ]
    found = limits(nodes)
    assert found["cores"] == [1, 128]
    assert found["memory"] == [0, 1024]
    assert limits(nodes, MaxCPUsPerNode="8")["cores"] == [1, 8]


def test_memory_that_nobody_configured_is_not_known() -> None:
    """Slurm takes 1 MiB for a node whose configuration names no memory, and checks nothing."""
    assert "memory" not in limits([{"CPUTot": "4", "RealMemory": "1"}])


def test_memory_by_core() -> None:
    """Slurm gives a job more cores for more memory, up to all of a node."""
    assert limits([{"CPUTot": "4", "RealMemory": "65536"}], MaxMemPerCPU="1024")["memory"] == [0, 4]
    nodes = {"p": [{"CPUTot": "4", "RealMemory": "65536"}]}
    of_cluster = limits_of(
        {"PartitionName": "p", "MaxMemPerNode": "UNLIMITED"}, nodes, {"MaxMemPerNode": "2048"}
    )
    assert of_cluster["memory"] == [0, 2]


def test_accounts_and_state() -> None:
    """Only where they are limited."""
    found = limits(AllowAccounts="a,b", DenyAccounts="c", AllowQos="normal,long", State="DRAIN")
    assert found == {
        "accounts": ["a", "b"],
        "refused_accounts": ["c"],
        "qos": ["normal", "long"],
        "is_up": False,
    }


def test_lists_without_room_are_left_out() -> None:
    """The column of parameters is narrow; Slurm itself refuses what is not refused early then."""
    many = [f"account_{n}" for n in range(400)]
    found = fitting({"cores": [1, 4], "accounts": many, "qos": ["a"]})
    assert found == {"cores": [1, 4], "qos": ["a"]}
    assert len(msgspec.json.encode(found)) <= PARAMETERS_CHARACTERS


def test_nodes_of_the_future_do_not_count() -> None:
    """They are in the configuration and nowhere else; those that are down come back."""
    nodes = [
        {"NodeName": "a", "Partitions": "p,q", "CPUTot": "4", "State": "DOWN*+DRAIN"},
        {"NodeName": "b", "Partitions": "p", "CPUTot": "64", "State": "FUTURE"},
    ]
    found = describe([{"PartitionName": "p"}, {"PartitionName": "q"}], nodes, {})
    assert [queue.parameters["cores"] for queue in found.queues] == [[1, 4], [1, 4]]


@pytest.mark.parametrize(
    ("texts", "most"),
    [
        (["(null)"], {}),
        (["gpu:4"], {"gpu": 4}),
        (["gpu:a100:4(S:0-1),gpu:v100:2"], {"gpu": 6}),
        (["gpu:a100:4(S:0,1)", "gpu:8,craynetwork:4"], {"gpu": 8, "craynetwork": 4}),
        (["gpu:1g.5gb:7(S:0)"], {"gpu": 7}),
        (["gpu:tesla", "nvme:2K"], {"gpu": 1, "nvme": 2048}),
    ],
)
def test_generic_resources(texts: list[str], most: dict[str, int]) -> None:
    """Summed over the types of one node; the most of any node."""
    assert most_gres(texts) == most


@given(st.text())
def test_no_text_breaks_the_parsers(text: str) -> None:
    """Nonsense gives nothing, or something, but no error."""
    read_lines(text)
    read_config(text)
    most_gres([text])


class _Silent:
    """A cluster that answers and shows this user no partition."""

    def partitions(self) -> list[dict[str, str]]:
        return []

    nodes = partitions

    def config(self) -> dict[str, str]:
        return {}


def test_no_partition_is_no_cluster() -> None:
    """Queues that are registered are not to vanish because of an empty answer."""
    with pytest.raises(ClusterUnreachable, match="named no partition"):
        discover(_Silent())  # type: ignore[arg-type]
