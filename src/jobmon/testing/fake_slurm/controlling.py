"""``scancel`` and ``scontrol``: what is ordered, and what the controller tells of itself."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime

from jobmon.testing.fake_slurm.answer import VERSION, Answer, Call, Refused
from jobmon.testing.fake_slurm.array_tasks import parse_job_id
from jobmon.testing.fake_slurm.cluster import Cluster
from jobmon.testing.fake_slurm.faults import Faults
from jobmon.testing.fake_slurm.model import Job, Node, Partition, State
from jobmon.testing.fake_slurm.rows import control_fields, rows_of
from jobmon.testing.fake_slurm.texts import clock, nodes_text
from jobmon.testing.fake_slurm.words import Options

_SCANCEL = Options(
    "scancel",
    {
        "batch": "b",
        "full": "f",
        "jobname=": "n",
        "me": "",
        "name=": "",
        "nodelist=": "w",
        "partition=": "p",
        "quiet": "Q",
        "signal=": "s",
        "state=": "t",
        "user=": "u",
        "verbose": "v",
        "version": "V",
    },
)
_SCONTROL = Options(
    "scontrol", {"oneliner": "o", "details": "d", "quiet": "Q", "verbose": "v", "all": "a", "version": "V"}
)
_UNKNOWN = "Invalid job id specified"
_ODD_RANGE = re.compile("[:%]")


def scancel(call: Call, cluster: Cluster, faults: Faults) -> Answer:
    """Cancel jobs; ids nobody knows are passed over."""
    options, ids = _SCANCEL.read(call.arguments)
    if "version" in options:
        return Answer(f"slurm {VERSION}\n")
    name = options.get("jobname", options.get("name"))
    for text in [part for word in ids for part in word.split()]:
        number, tasks = _cancelled_id(text)
        cluster.cancel(_named(cluster.find(number, tasks), name), call.uid, tasks is None)
    if not ids and ("user" in options or "me" in options or name):
        cluster.cancel(_named(list(cluster.jobs.values()), name), call.uid, True)
    return Answer()


def _cancelled_id(text: str) -> tuple[int, tuple[int, ...] | None]:
    """A job's number and its tasks; ``scancel`` does not understand all that ``sbatch`` does."""
    refused = f"scancel: error: Invalid job id {text}"
    odd = next(
        (part for part in re.findall(r"[\d:%-]+", text.partition("_")[2]) if _ODD_RANGE.search(part)), ""
    )
    if odd:
        raise Refused(f"scancel: error: _parse_single_range: Invalid range: `{odd}'\n{refused}")
    try:
        return parse_job_id(text)
    except ValueError as exc:
        raise Refused(refused) from exc


def _named(jobs: Sequence[Job], name: str | None) -> list[Job]:
    return [job for job in jobs if name is None or job.submission.name == name]


def scontrol(call: Call, cluster: Cluster, faults: Faults) -> Answer:
    """Tell of jobs, nodes and the configuration; change jobs and nodes."""
    options, words = _SCONTROL.read(call.arguments)
    if "version" in options:
        return Answer(f"slurm {VERSION}\n")
    verb, *rest = words or [""]
    order = _ORDERS.get(verb.lower())
    if order is None:
        raise Refused(f"invalid keyword: {verb}")
    return order(cluster, rest, "oneliner" in options)


def _show(cluster: Cluster, words: Sequence[str], is_one_line: bool) -> Answer:
    entity, name = ([*words, "", ""])[:2]
    shown = {"job": _show_job, "part": _show_partitions, "node": _show_nodes, "conf": _show_config}
    made = shown.get(entity.lower()[:4].rstrip("s"))
    if made is None:
        raise Refused(f"invalid entity:{entity} for keyword:show ")
    return made(cluster, name, is_one_line)


def _show_job(cluster: Cluster, name: str, is_one_line: bool) -> Answer:
    jobs = _jobs(cluster, name, "slurm_load_jobs error: ") if name else list(cluster.jobs.values())
    if not jobs:
        raise Refused("No jobs in the system", 0)
    with cluster.lock:
        rows = rows_of(
            jobs, lambda job: cluster.waiting_reason(job) if job.state is State.PENDING else job.reason, False
        )
        return Answer("".join(_record(control_fields(row), is_one_line) for row in rows))


def _jobs(cluster: Cluster, text: str, before: str, behind: str = "") -> list[Job]:
    """Jobs an order means; ``before`` and ``behind`` surround what is said of an unknown id.

    Raises:
        Refused: the controller knows none of that id.
    """
    try:
        number, tasks = parse_job_id(text)
    except ValueError as exc:
        raise Refused(before + _UNKNOWN + behind) from exc
    jobs = cluster.find(number, tasks)
    if not jobs and tasks is not None and cluster.find(number):
        raise Refused(text=f"Job {text} not found")
    if not jobs:
        raise Refused(before + _UNKNOWN + behind)
    return jobs


def _record(fields: Sequence[tuple[str, str]], is_one_line: bool) -> str:
    texts = [f"{name}={value}" for name, value in fields]
    return " ".join(texts) + " \n" if is_one_line else "\n   ".join(texts) + "\n\n"


def _show_partitions(cluster: Cluster, name: str, is_one_line: bool) -> Answer:
    if name and name not in cluster.partitions:
        raise Refused(text=f"Partition {name} not found")
    chosen = [cluster.partitions[name]] if name else list(cluster.partitions.values())
    return Answer(
        "".join(_record(_partition_fields(cluster, partition), is_one_line) for partition in chosen)
    )


def _partition_fields(cluster: Cluster, partition: Partition) -> list[tuple[str, str]]:
    nodes = [cluster.nodes[name] for name in partition.nodes]
    cpus, memory = sum(node.cpus for node in nodes), sum(node.memory for node in nodes)
    return [
        ("PartitionName", partition.name),
        ("AllowGroups", "ALL"),
        ("AllowAccounts", "ALL"),
        ("AllowQos", "ALL"),
        ("AllocNodes", "ALL"),
        ("Default", "YES" if partition.is_default else "NO"),
        ("QoS", "N/A"),
        ("DefaultTime", clock(partition.default_seconds)),
        ("MaxNodes", "UNLIMITED"),
        ("MaxTime", clock(partition.max_seconds) if partition.max_seconds else "UNLIMITED"),
        ("MinNodes", "0"),
        ("MaxCPUsPerNode", "UNLIMITED"),
        ("Nodes", nodes_text(partition.nodes)),
        ("PreemptMode", "OFF"),
        ("State", "UP"),
        ("TotalCPUs", str(cpus)),
        ("TotalNodes", str(len(nodes))),
        ("JobDefaults", "(null)"),
        ("DefMemPerNode", "UNLIMITED"),
        ("MaxMemPerNode", str(partition.max_memory) if partition.max_memory else "UNLIMITED"),
        ("TRES", f"cpu={cpus},mem={memory}M,node={len(nodes)},billing={cpus}"),
    ]


def _show_nodes(cluster: Cluster, name: str, is_one_line: bool) -> Answer:
    if name and name not in cluster.nodes:
        raise Refused(text=f"Node {name} not found")
    chosen = [cluster.nodes[name]] if name else list(cluster.nodes.values())
    return Answer("".join(_record(_node_fields(cluster, node), is_one_line) for node in chosen))


def _node_fields(cluster: Cluster, node: Node) -> list[tuple[str, str]]:
    partitions = [partition.name for partition in cluster.partitions.values() if node.name in partition.nodes]
    return [
        ("NodeName", node.name),
        ("Arch", "x86_64"),
        ("CPUTot", str(node.cpus)),
        ("AvailableFeatures", "(null)"),
        ("ActiveFeatures", "(null)"),
        ("Gres", "(null)"),
        ("NodeAddr", "127.0.0.1"),
        ("NodeHostName", "localhost"),
        ("Version", VERSION),
        ("RealMemory", str(node.memory)),
        ("State", "DOWN*" if node.is_down else "IDLE"),
        ("Partitions", ",".join(partitions)),
        *([("Reason", node.reason)] if node.is_down else []),
    ]


def _show_config(cluster: Cluster, name: str, is_one_line: bool) -> Answer:
    settings = cluster.settings
    limits = "ALL" if settings.enforce_part_limits else "NO"
    values = {
        "AccountingStorageEnforce": "none",
        "AccountingStorageType": "accounting_storage/slurmdbd",
        "ClusterName": "fake",
        "DefMemPerNode": "64",
        "EnforcePartLimits": limits,
        "JobAcctGatherType": "jobacct_gather/linux",
        "JobRequeue": "1",
        "KillWait": f"{settings.kill_wait_seconds:.0f} sec",
        "MaxArraySize": str(settings.max_array_size),
        "MaxJobCount": str(settings.max_job_count),
        "MinJobAge": f"{settings.min_job_age_seconds:.0f} sec",
        "NEXT_JOB_ID": str(cluster.next_id),
        "ProctrackType": "proctrack/cgroup",
        "SLURM_VERSION": VERSION,
        "TaskPlugin": "task/cgroup",
    }
    head = f"Configuration data as of {datetime.now():%Y-%m-%dT%H:%M:%S}\n"  # noqa: DTZ005
    lines = "".join(f"{name:<23} = {value}\n" for name, value in values.items())
    return Answer(head + lines + "\nSlurmctld(primary) at localhost is UP\n")


def _update(cluster: Cluster, words: Sequence[str], is_one_line: bool) -> Answer:
    asked = {name.lower(): value for name, _, value in (word.partition("=") for word in words)}
    if "nodename" in asked:
        return _update_node(cluster, asked)
    jobs = _jobs(cluster, job_id := asked.get("jobid", ""), "", f" for job {job_id}")
    if "arraytaskthrottle" in asked:
        cluster.throttle(jobs, int(asked["arraytaskthrottle"]))
    return Answer()


def _update_node(cluster: Cluster, asked: Mapping[str, str]) -> Answer:
    name, state = asked["nodename"], asked.get("state", "").lower()
    if name not in cluster.nodes:
        raise Refused("slurm_update error: Invalid node name specified")
    if state in ("down", "fail"):
        cluster.fail_node(name, leave_processes=False)
    elif state in ("resume", "idle"):
        cluster.nodes[name].is_down = False
    return Answer()


def _for_each(order: Callable[[Cluster, Sequence[Job]], None]) -> Callable[..., Answer]:
    """An order that takes ids of jobs."""

    def carry_out(cluster: Cluster, words: Sequence[str], is_one_line: bool) -> Answer:
        for text in [part for word in words for part in word.split(",")]:
            unknown = f"{_UNKNOWN} for job {text}\nslurm_suspend error: "
            order(cluster, _jobs(cluster, text, unknown))
        return Answer()

    return carry_out


def _ping(cluster: Cluster, words: Sequence[str], is_one_line: bool) -> Answer:
    return Answer("Slurmctld(primary) at localhost is UP\n")


_ORDERS: Mapping[str, Callable[[Cluster, Sequence[str], bool], Answer]] = {
    "show": _show,
    "update": _update,
    "ping": _ping,
    "hold": _for_each(lambda cluster, jobs: cluster.hold(jobs, "JobHeldUser")),
    "uhold": _for_each(lambda cluster, jobs: cluster.hold(jobs, "JobHeldUser")),
    "release": _for_each(lambda cluster, jobs: cluster.hold(jobs, "")),
    "requeue": _for_each(lambda cluster, jobs: cluster.requeue(jobs)),
}
