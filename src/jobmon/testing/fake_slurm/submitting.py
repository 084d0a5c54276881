"""``sbatch``: from words to a submission."""

from __future__ import annotations

import shlex
import time
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from jobmon.testing.fake_slurm.answer import VERSION, Answer, Call, Refused
from jobmon.testing.fake_slurm.array_tasks import parse_tasks
from jobmon.testing.fake_slurm.cluster import Cluster
from jobmon.testing.fake_slurm.faults import Faults
from jobmon.testing.fake_slurm.model import Partition, Submission
from jobmon.testing.fake_slurm.placement import never_starts
from jobmon.testing.fake_slurm.texts import begin_of, mebibytes_of, seconds_of
from jobmon.testing.fake_slurm.words import Options

_NAMES = {
    "account=": "A",
    "array=": "a",
    "begin=": "b",
    "chdir=": "D",
    "comment=": "",
    "constraint=": "C",
    "cpus-per-task=": "c",
    "dependency=": "d",
    "error=": "e",
    "exclude=": "x",
    "exclusive": "",
    "export=": "",
    "export-file=": "",
    "gpus=": "G",
    "gres=": "",
    "hold": "H",
    "input=": "i",
    "job-name=": "J",
    "kill-on-invalid-dep=": "",
    "mail-type=": "",
    "mail-user=": "",
    "mem=": "",
    "mem-per-cpu=": "",
    "nice=": "",
    "no-requeue": "",
    "nodelist=": "w",
    "nodes=": "N",
    "ntasks=": "n",
    "ntasks-per-node=": "",
    "open-mode=": "",
    "output=": "o",
    "parsable": "",
    "partition=": "p",
    "qos=": "q",
    "quiet": "Q",
    "requeue": "",
    "reservation=": "",
    "signal=": "",
    "test-only": "",
    "time=": "t",
    "tmp=": "",
    "version": "V",
    "wckey=": "",
    "wrap=": "",
}
_OPTIONS = Options("sbatch", _NAMES, is_mixed=False)
_NO_SCRIPT = (
    "sbatch: error: This does not look like a batch script.  The first\n"
    "sbatch: error: line must start with #! followed by the path to an interpreter.\n"
    "sbatch: error: For instance: #!/bin/sh"
)
_FAILED = "sbatch: error: Batch job submission failed: "
_OVER_LIMIT = "Job violates accounting/QOS policy (job submit limit, user's size and/or time limits)"
_PORTABLE = ("PATH", "HOME", "USER", "LOGNAME", "SHELL", "TMPDIR")
DEFAULT_MEMORY = 64


def sbatch(call: Call, cluster: Cluster, faults: Faults) -> Answer:
    """Take a job."""
    options, words = _OPTIONS.read(call.arguments)
    if "version" in options:
        return Answer(f"slurm {VERSION}\n")
    script, name = _script(call, options, words)
    asked = {**_directives(script), **_variables(call.environment), **options}
    if faults.refusal:
        raise Refused(faults.refusal)
    submission = _submission(call, cluster, asked, script, asked.get("job-name", name))
    _check_limits(cluster, faults, submission)
    if "test-only" in asked:
        return Answer(error=f"sbatch: Job {cluster.next_id} to start at now\n")
    job_id = cluster.submit(submission)
    if faults.lost_replies:
        faults.lost_replies -= 1
        raise Refused(_FAILED + "Socket timed out on send/recv operation")
    return Answer(f"{job_id}\n" if "parsable" in asked else f"Submitted batch job {job_id}\n")


def with_script(call: Call) -> Call:
    """The call with what was piped into it, where that is the script: it is read before anything is asked."""
    try:
        options, words = _OPTIONS.read(call.arguments)
    except Refused:
        return call
    if words or "wrap" in options or "version" in options:
        return call
    script = call.read_stdin()
    return replace(call, read_stdin=lambda: script)


def _script(call: Call, options: Mapping[str, str], words: list[str]) -> tuple[str, str]:
    """Text of the script, and the name a job has by it."""
    if "wrap" in options:
        return "#!/bin/sh\n# This script was created by sbatch --wrap.\n\n" + options["wrap"] + "\n", "wrap"
    if words:
        path = Path(call.directory, words[0])
        try:
            text = path.read_text()
        except OSError as exc:
            raise Refused(f"sbatch: error: Unable to open file {words[0]}") from exc
        name = path.name
    else:
        text, name = call.read_stdin(), "sbatch"
    if not text.startswith("#!"):
        raise Refused(_NO_SCRIPT)
    return text, name


def _directives(script: str) -> dict[str, str]:
    """Options from the ``#SBATCH`` lines at the head of a script."""
    words: list[str] = []
    for line in script.splitlines():
        if line.startswith("#SBATCH"):
            words += shlex.split(line.removeprefix("#SBATCH"), comments=True)
        elif line.strip() and not line.startswith("#"):
            break
    return _OPTIONS.read(words)[0]


def _variables(environment: Mapping[str, str]) -> dict[str, str]:
    """Options from ``SBATCH_…`` variables."""
    names = {
        f"SBATCH_{name.rstrip('=').upper().replace('-', '_')}": name.rstrip("=")
        for name in _NAMES
        if "=" in name
    }
    return {names[name]: value for name, value in environment.items() if name in names}


def _submission(call: Call, cluster: Cluster, asked: dict[str, str], script: str, name: str) -> Submission:
    partition = _partition(cluster, asked.get("partition", ""))
    tasks, throttle = _tasks(cluster, asked.get("array", ""))
    output = asked.get("output") or ("slurm-%A_%a.out" if tasks else "slurm-%j.out")
    time_limit = _value(asked, "time", seconds_of) if "time" in asked else partition.default_seconds
    memory = _value(asked, "mem", mebibytes_of) if "mem" in asked else DEFAULT_MEMORY
    return Submission(
        script=script,
        name=name,
        user=call.user,
        uid=call.uid,
        directory=Path(call.directory, asked.get("chdir", "")),
        environment=_environment(call.environment, asked.get("export", "ALL")),
        output=output,
        error=asked.get("error", ""),
        partition=partition.name,
        time_seconds=time_limit,
        memory=memory,
        cpus=_value(asked, "cpus-per-task", int) if "cpus-per-task" in asked else 1,
        nodes=_value(asked, "nodes", int) if "nodes" in asked else 1,
        tasks=tasks,
        throttle=throttle,
        requeue="no-requeue" not in asked,
        is_held="hold" in asked,
        begin=_begin(asked.get("begin", "")),
        excluded=_excluded(cluster, asked.get("exclude", "")),
        account=asked.get("account", ""),
        qos=asked.get("qos", "normal"),
        comment=asked.get("comment", ""),
        features=asked.get("constraint", ""),
        gres=asked.get("gres", ""),
        append=asked.get("open-mode") == "append",
    )


def _value(asked: Mapping[str, str], name: str, reader: type[int] | object) -> int:
    try:
        value: int = reader(asked[name])  # type: ignore[operator]
    except ValueError as exc:
        raise Refused(f"sbatch: error: Invalid --{name} specification", 255) from exc
    return value


def _partition(cluster: Cluster, name: str) -> Partition:
    if not name:
        return next(partition for partition in cluster.partitions.values() if partition.is_default)
    if name not in cluster.partitions:
        first = f"sbatch: error: invalid partition specified: {name}\n"
        raise Refused(first + _FAILED + "Invalid partition name specified")
    return cluster.partitions[name]


def _tasks(cluster: Cluster, text: str) -> tuple[tuple[int, ...], int]:
    if not text:
        return (), 0
    try:
        tasks, throttle = parse_tasks(text)
    except ValueError as exc:
        raise Refused(_FAILED + "Invalid job array specification") from exc
    if tasks[-1] >= cluster.settings.max_array_size:
        raise Refused(_FAILED + "Invalid job array specification")
    return tasks, throttle


def _begin(text: str) -> float:
    try:
        return begin_of(text, time.time()) if text else 0.0
    except ValueError as exc:
        raise Refused(
            f"Invalid time specification: {text}\nsbatch: error: Invalid --begin specification", 255
        ) from exc


def _excluded(cluster: Cluster, text: str) -> tuple[str, ...]:
    names = tuple(name for name in text.split(",") if name)
    if any(name not in cluster.nodes for name in names):
        raise Refused(_FAILED + "Invalid node name specified")
    return names


def _environment(environment: Mapping[str, str], export: str) -> dict[str, str]:
    """What of the submitter's environment the script gets."""
    if export in ("NONE", "NIL"):
        return {name: environment[name] for name in _PORTABLE if name in environment}
    words = export.split(",")
    chosen = dict(environment) if "ALL" in words else {}
    for word in words:
        name, has_value, value = word.partition("=")
        if has_value:
            chosen[name] = value
        elif name in environment:
            chosen[name] = environment[name]
    return {name: value for name, value in chosen.items() if not name.startswith("SBATCH_")}


def _check_limits(cluster: Cluster, faults: Faults, submission: Submission) -> None:
    more = len(submission.tasks) or 1
    if faults.submit_limit and cluster.user_jobs + more > faults.submit_limit:
        raise Refused("sbatch: error: AssocMaxSubmitJobLimit\n" + _FAILED + _OVER_LIMIT)
    if len(cluster.jobs) + more > cluster.settings.max_job_count:
        raise Refused(_FAILED + "Slurm temporarily unable to accept job, sleeping and retrying")
    if cluster.settings.enforce_part_limits:
        word = never_starts(submission, cluster.partitions[submission.partition], cluster.nodes)
        if word:
            raise Refused(_FAILED + _REFUSALS[word])


_REFUSALS: Mapping[str, str] = {
    "PartitionTimeLimit": "Requested time limit is invalid (missing or exceeds some limit)",
    "PartitionNodeLimit": "Node count specification invalid",
    "MaxMemPerLimit": "Memory required by task is not available",
    "PartitionConfig": "Requested node configuration is not available",
}
