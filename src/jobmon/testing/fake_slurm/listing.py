"""``squeue``, ``sinfo``, ``sacct`` and ``sacctmgr``: what is asked of the cluster."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterable, Mapping, Sequence

from jobmon.testing.fake_slurm.answer import VERSION, Answer, Call, Refused
from jobmon.testing.fake_slurm.array_tasks import SHOWN_ID_LENGTH, TEXT_LENGTH, parse_job_id, split_ids
from jobmon.testing.fake_slurm.cluster import Cluster
from jobmon.testing.fake_slurm.faults import Faults
from jobmon.testing.fake_slurm.model import SHORT_STATES, UNFINISHED, Job, State
from jobmon.testing.fake_slurm.rows import SQUEUE_LETTERS, SQUEUE_NAMES, Row, rows_of, squeue_field
from jobmon.testing.fake_slurm.texts import nodes_text, short_clock
from jobmon.testing.fake_slurm.words import Options

_SQUEUE = Options(
    "squeue",
    {
        "Format=": "O",
        "account=": "A",
        "all": "a",
        "array": "r",
        "format=": "o",
        "hide": "",
        "job=": "",
        "jobs=": "j",
        "local": "",
        "me": "",
        "name=": "n",
        "noheader": "h",
        "nodelist=": "w",
        "partition=": "p",
        "sort=": "S",
        "states=": "t",
        "user=": "u",
        "version": "V",
    },
)
_LETTER = re.compile(r"%(\.?)(\d*)([A-Za-z])")
_LONG = re.compile(r"([A-Za-z_]+)(?::(\.?)(\d*)([^,]*))?(?:,|$)")
_PLAIN = "%.18i %.9P %.8j %.8u %.2t %.10M %.6D %R"


def squeue(call: Call, cluster: Cluster, faults: Faults) -> Answer:
    """List jobs."""
    options, _ = _SQUEUE.read(call.arguments)
    if "version" in options:
        return Answer(f"slurm {VERSION}\n")
    chosen = _listed(cluster, options)
    length = int(call.environment.get("SLURM_BITSTR_LEN") or TEXT_LENGTH)
    wanted = _states(options.get("states", ""))
    jobs = [job for job in chosen if job.state in wanted and _is_chosen(job, options, call.user)]
    is_expanded = "array" in options
    rows = rows_of(jobs, _reason_of(cluster), is_expanded, faults.false_state, length)
    line = _line_maker(options)
    head = [] if "noheader" in options else [line(None)]
    return Answer("".join(text.rstrip(" ") + "\n" for text in [*head, *(line(row) for row in rows)]))


def _reason_of(cluster: Cluster) -> Callable[[Job], str]:
    return lambda job: cluster.waiting_reason(job) if job.state is State.PENDING else job.reason


def _listed(cluster: Cluster, options: Mapping[str, str]) -> list[Job]:
    ids = options.get("jobs")
    if ids is None:
        return list(cluster.jobs.values())
    found: dict[int, Job] = {}
    texts = split_ids(ids)
    for text in texts:
        try:
            number, tasks = parse_job_id(text)
        except ValueError as exc:
            raise Refused(f"squeue: error: Invalid job id: {text}") from exc
        found |= {id(job): job for job in cluster.find(number, tasks)}
        if len(texts) == 1 and not cluster.find(number):
            raise Refused("slurm_load_jobs error: Invalid job id specified")
    return list(found.values())


_KNOWN_STATES = (
    *(State.PENDING, State.RUNNING, State.SUSPENDED, State.COMPLETED, State.CANCELLED, State.FAILED),
    *(State.TIMEOUT, State.NODE_FAIL, State.PREEMPTED, State.BOOT_FAIL, State.DEADLINE, State.OUT_OF_MEMORY),
    *("COMPLETING", "CONFIGURING", "RESIZING", "RESV_DEL_HOLD", "REQUEUED", "REQUEUE_FED", "REQUEUE_HOLD"),
    *("REVOKED", "SIGNALING", "SPECIAL_EXIT", "STAGE_OUT", "STOPPED"),
)
"""States that Slurm names, in its order; jobs here are never in the last ones."""


def _states(text: str) -> frozenset[State]:
    if not text:
        return UNFINISHED
    if text.lower() == "all":
        return frozenset(State)
    by_name = {short: state for state, short in SHORT_STATES.items()} | {
        state.value: state for state in State
    }
    words = text.upper().split(",")
    unknown = [word for word in words if word not in by_name]
    if unknown:
        known = ",".join(_KNOWN_STATES)
        raise Refused(
            f"squeue: error: Invalid job state specified: {unknown[0]}\n"
            f"squeue: error: Valid job states include: {known}\n"
        )
    return frozenset(by_name[word] for word in words)


def _is_chosen(job: Job, options: Mapping[str, str], user: str) -> bool:
    asked = job.submission
    users = user if "me" in options else options.get("user", asked.user)
    return (
        asked.user in users.split(",")
        and asked.name in options.get("name", asked.name).split(",")
        and asked.partition in options.get("partition", asked.partition).split(",")
    )


def _line_maker(options: Mapping[str, str]) -> Callable[[Row | None], str]:
    """Makes a line of a row, or the head of the table of none."""
    if "Format" in options:
        fields = [
            (name.lower(), bool(right), int(width or 20), end)
            for name, right, width, end in _LONG.findall(options["Format"])
        ]
        unknown = [name for name, *_ in fields if name not in SQUEUE_NAMES]
        if unknown:
            raise Refused(f"squeue: error: Invalid job format specification: {unknown[0]}")
        return lambda row: "".join(
            _sized(_cell(name, row), "" if end else str(width), right) + end
            for name, right, width, end in fields
        )
    text = options.get("format", _PLAIN)

    def field(match: re.Match[str], row: Row | None) -> str:
        name = SQUEUE_LETTERS.get(match[3])
        if name is None:
            return match[0]
        cell = _cell(name, row)
        cut = cell[:SHOWN_ID_LENGTH] if name == "jobarrayid" and not match[2] else cell
        return _sized(cut, match[2], bool(match[1]))

    return lambda row: _LETTER.sub(lambda match: field(match, row), text)


def _cell(name: str, row: Row | None) -> str:
    return _HEADS.get(name, name.upper()) if row is None else squeue_field(name, row)


_HEADS: Mapping[str, str] = {
    "jobarrayid": "JOBID",
    "numnodes": "NODES",
    "reasonlist": "NODELIST(REASON)",
    "statecompact": "ST",
    "timeused": "TIME",
    "username": "USER",
}


def _sized(text: str, width: str, is_right: bool) -> str:
    if not width:
        return text
    cut = text[: int(width)]
    return cut.rjust(int(width)) if is_right else cut.ljust(int(width))


_SINFO = Options(
    "sinfo",
    {
        "all": "a",
        "format=": "o",
        "noheader": "h",
        "Node": "N",
        "partition=": "p",
        "states=": "t",
        "version": "V",
    },
)


def sinfo(call: Call, cluster: Cluster, faults: Faults) -> Answer:
    """List partitions."""
    options, _ = _SINFO.read(call.arguments)
    if "version" in options:
        return Answer(f"slurm {VERSION}\n")
    text = options.get("format", "%9P %5a %.10l %.6D %6t %N")
    lines = [] if "noheader" in options else ["PARTITION AVAIL  TIMELIMIT  NODES  STATE NODELIST"]
    for partition in cluster.partitions.values():
        if partition.name not in options.get("partition", partition.name).split(","):
            continue
        nodes = [cluster.nodes[name] for name in partition.nodes]
        cells = {
            "P": partition.name + ("*" if partition.is_default else ""),
            "R": partition.name,
            "a": "up",
            "l": short_clock(partition.max_seconds) if partition.max_seconds else "infinite",
            "L": short_clock(partition.default_seconds),
            "m": str(max(node.memory for node in nodes)),
            "c": str(max(node.cpus for node in nodes)),
            "D": str(len(nodes)),
            "s": "1-infinite",
            "t": "down" if all(node.is_down for node in nodes) else "idle",
            "N": nodes_text(partition.nodes),
        }
        lines.append(_filled(text, cells))
    return Answer("".join(line + "\n" for line in lines))


def _filled(text: str, cells: Mapping[str, str]) -> str:
    return _LETTER.sub(lambda match: _sized(cells.get(match[3], ""), match[2], bool(match[1])), text)


_NO_DATABASE = (
    "sacctmgr: error: Sending PersistInit msg: Connection refused\n"
    "sacctmgr: error: Problem talking to the database: Connection refused"
)


def sacctmgr(call: Call, cluster: Cluster, faults: Faults) -> Answer:
    """Tell limits of users and of qualities of service, all of which are the same here."""
    words = [word for word in call.arguments if not word.startswith("-")]
    if faults.no_accounting or faults.accounting_away:
        raise Refused(_NO_DATABASE)
    entity = next((word.lower() for word in words[1:2]), "")
    values = {
        "cluster": "fake",
        "account": call.user,
        "user": call.user,
        "name": "normal",
        "qos": "normal",
        "maxsubmitjobs": str(faults.submit_limit or ""),
        "maxsubmit": str(faults.submit_limit or ""),
    }
    rest = dict(word.lower().split("=", 1) for word in words if "=" in word)
    plain = {"qos": "name,priority,maxsubmit", "user": "user,account"}
    fields = rest.get(
        "format", plain.get(entity[:4].rstrip("s"), "cluster,account,user,maxsubmit,qos")
    ).split(",")
    is_about_qos = entity.startswith("qos")
    row = [
        "" if is_about_qos and name.startswith("max") else values.get(name.split("%")[0], "")
        for name in fields
    ]
    return Answer("|".join(row) + "\n")


def matching(jobs: Iterable[Job], ids: Sequence[str]) -> list[Job]:
    """Jobs that one of the ids means."""
    wanted = [parse_job_id(text.partition(".")[0]) for text in ids]
    return [
        job
        for job in jobs
        if any(
            number in (job.array_job_id, job.job_id) and (tasks is None or job.task in tasks)
            for number, tasks in wanted
        )
    ]


def since(text: str, now: float | None = None) -> float:
    """The moment ``-S`` names."""
    match = re.fullmatch(r"now-(\d+)([a-z]*)", text)
    now = time.time() if now is None else now
    return (
        now - int(match[1]) * {"": 1, "s": 1, "m": 60, "h": 3600, "d": 86400}[match[2][:1]] if match else 0.0
    )
