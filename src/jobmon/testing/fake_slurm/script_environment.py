"""What a script finds around it: Slurm's variables, and the names of its log files."""

from __future__ import annotations

import re
from collections.abc import Mapping

from jobmon.testing.fake_slurm.model import Job

NO_TASK = 4294967294
"""What stands for the task id where there is none."""
_PATTERN = re.compile(r"%(\d*)([%AaJjNnstux])")


def script_environment(job: Job) -> dict[str, str]:
    """The environment of a job's script."""
    submission = job.submission
    variables = {
        **submission.environment,
        "SLURM_JOB_ID": str(job.job_id),
        "SLURM_JOBID": str(job.job_id),
        "SLURM_JOB_NAME": submission.name,
        "SLURM_JOB_PARTITION": submission.partition,
        "SLURM_JOB_USER": submission.user,
        "SLURM_JOB_UID": str(submission.uid),
        "SLURM_JOB_NODELIST": job.node,
        "SLURM_NODELIST": job.node,
        "SLURMD_NODENAME": job.node,
        "SLURM_JOB_NUM_NODES": str(submission.nodes),
        "SLURM_NNODES": str(submission.nodes),
        "SLURM_CPUS_ON_NODE": str(submission.cpus),
        "SLURM_CLUSTER_NAME": "fake",
        "SLURM_SUBMIT_DIR": str(submission.directory),
        "ENVIRONMENT": "BATCH",
    }
    if submission.cpus > 1:
        variables["SLURM_CPUS_PER_TASK"] = str(submission.cpus)
    if job.restarts:
        variables["SLURM_RESTART_COUNT"] = str(job.restarts)
    if job.task is not None:
        variables |= _array_variables(job, submission.tasks)
    return variables


def _array_variables(job: Job, tasks: tuple[int, ...]) -> Mapping[str, str]:
    return {
        "SLURM_ARRAY_JOB_ID": str(job.array_job_id),
        "SLURM_ARRAY_TASK_ID": str(job.task),
        "SLURM_ARRAY_TASK_COUNT": str(len(tasks)),
        "SLURM_ARRAY_TASK_MIN": str(tasks[0]),
        "SLURM_ARRAY_TASK_MAX": str(tasks[-1]),
        "SLURM_ARRAY_TASK_STEP": str(tasks[1] - tasks[0] if len(tasks) > 1 else 1),
    }


def log_path(pattern: str, job: Job) -> str:
    """The path of a log file: ``%A`` and the like replaced."""
    values = {
        "%": "%",
        "A": str(job.array_job_id),
        "a": str(NO_TASK if job.task is None else job.task),
        "J": str(job.job_id),
        "j": str(job.job_id),
        "N": job.node,
        "n": "0",
        "s": "batch",
        "t": "0",
        "u": job.submission.user,
        "x": job.submission.name,
    }
    return _PATTERN.sub(lambda match: values[match[2]].rjust(int(match[1] or 0), "0"), pattern)
