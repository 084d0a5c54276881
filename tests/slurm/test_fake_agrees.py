"""The fake Slurm and the real one, asked the same, say the same."""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import lab
import pytest

from jobmon.testing.fake_slurm import FakeSlurm, Settings


@pytest.fixture
def fake(tmp_path: Path) -> Iterator[FakeSlurm]:
    """A fake with the settings of the lab."""
    with FakeSlurm(tmp_path / "fake", Settings(max_array_size=100_001, max_job_count=200_000)) as slurm:
        yield slurm


class Site:
    """One of the two, with a job array on it that is held; its id is written ``JOB`` in what is said."""

    def __init__(self, directory: Path, name: str, bin_directory: Path | None) -> None:
        self.directory, self.name = directory, name
        path = os.environ["PATH"]
        self.environment = {
            **os.environ,
            "PATH": f"{bin_directory}:{path}" if bin_directory else path,
            "LC_ALL": "C",
        }
        self.job = ""

    def ask(self, line: str) -> tuple[int, list[str], list[str]]:
        """Exit code and lines of a shell command, in which ``JOB`` and ``NAME`` are filled in."""
        filled = line.replace("JOB", self.job).replace("NAME", self.name)
        done = subprocess.run(
            ["/bin/sh", "-c", filled],
            cwd=self.directory,
            env=self.environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=30,
        )
        return done.returncode, self._plain(done.stdout), self._plain(done.stderr)

    def _plain(self, text: str) -> list[str]:
        if self.job:
            text = re.sub(rf"\b{self.job}(?![0-9])", "JOB", text)
        return sorted(line.rstrip() for line in text.replace(self.name, "NAME").splitlines())

    def submit(self, options: str) -> None:
        """Submit the job that is meant by ``JOB``."""
        code, out, error = self.ask(f"sbatch --parsable -J NAME -o /dev/null {options}")
        assert code == 0, error
        self.job = out[0]


@pytest.fixture
def sites(fake: FakeSlurm, tmp_path: Path, job_prefix: str) -> tuple[Site, Site]:
    """The real one and the fake one."""
    return Site(tmp_path, job_prefix, None), Site(tmp_path, job_prefix, fake.bin)


def submit(fake: FakeSlurm, sites: tuple[Site, Site], options: str) -> None:
    """Submit a job to both; it gets the same id."""
    real, other = sites
    real.submit(options)
    fake.recycle_ids(int(real.job))
    other.submit(options)
    assert other.job == real.job


def same(sites: tuple[Site, Site], line: str) -> tuple[int, list[str], list[str]]:
    """What both say to a command.

    Raises:
        AssertionError: they do not say the same.
    """
    real, fake = (site.ask(line) for site in sites)
    assert fake == real, line
    return real


@pytest.mark.parametrize(
    "line",
    [
        "squeue -h -j 99999999",
        "squeue -h -j 99999999,99999998 -o %i",
        "squeue -h -j nonsense",
        "squeue -h -n no-such-name -o %i",
        "squeue -h -t NONSENSE -o %i",
        "scancel 99999999",
        "scancel 99999999_4 99999998_[1-3,7]",
        "scancel 99999999_[5-8,10-29:2]",
        "scancel 99999999_[1-9%2]",
        "scancel nonsense",
        "scontrol show job 99999999",
        "scontrol hold 99999999",
        "scontrol update JobId=99999999 ArrayTaskThrottle=3",
        "scontrol nonsense",
        "sacct -n -P -j 99999999 -o JobID",
        "sacct -n -P -j 99999999 -o Restarts",
        "sinfo -h -o '%P|%l|%L|%m|%c|%D|%a'",
        "sbatch -p no-such-partition --wrap true",
        "sbatch -x no-such-node --wrap true",
        "sbatch -a 0-100001 --wrap true",
        "sbatch -a 5-2 --wrap true",
        "sbatch -t nonsense --wrap true",
        "sbatch --mem=nonsense --wrap true",
        "sbatch --no-such-option --wrap true",
        "sbatch no-such-file",
        "echo true | sbatch",
    ],
)
def test_refusals_and_unknown_ids(sites: tuple[Site, Site], line: str) -> None:
    """Words and exit codes."""
    same(sites, line)


def test_an_array_that_waits(fake: FakeSlurm, sites: tuple[Site, Site]) -> None:
    """Rows, ranges, holds, throttles, and what cancelled elements leave."""
    submit(fake, sites, "--hold -a 1-40%3 --wrap true")
    form = "-o '%i|%F|%K|%j|%T|%t|%r|%N|%A|%a|%P|%M|%l|%C|%m|%D'"
    same(sites, f"squeue -h -j JOB {form}")
    same(sites, f"squeue -h -r -j JOB {form}")
    same(sites, f"squeue -h -n NAME --me -t PD {form}")
    same(
        sites,
        "squeue -h -j JOB -O 'JobArrayID:|,State:4,Reason:|,Name:|,exit_code:|,RestartCnt:|,TimeUsed:|'",
    )
    same(sites, "squeue -h -j JOB_4 -o '%T'")
    same(sites, "scancel JOB_[2-4,9] JOB_30 JOB_[32-38]")
    same(sites, "squeue -h -t all -j JOB -o '%i|%K|%T'")
    same(sites, "scontrol update JobId=JOB ArrayTaskThrottle=5")
    same(sites, "squeue -h -j JOB -o '%K'")
    same(sites, "scancel JOB_[5-8] JOB_[10,12,14,16,18,20,22,24,26,28]")
    code, rows, _ = same(sites, "squeue -h -t all -j JOB -o '%i|%K'")
    assert (code, len(rows)) == (0, 1)
    same(sites, "SLURM_BITSTR_LEN=0 squeue -h -j JOB -o '%K'")
    same(sites, "scancel JOB")
    same(sites, "squeue -h -t all -j JOB -o '%K|%T'")
    same(sites, "scontrol show job JOB_2")


@pytest.mark.parametrize(
    "command", ["true", "exit 3", "exit 137", "exit 200", "kill -9 $$", "kill -TERM $$", "/no/such"]
)
def test_how_jobs_end(fake: FakeSlurm, sites: tuple[Site, Site], command: str) -> None:
    """States and codes, by squeue and by sacct."""
    submit(fake, sites, f"--wrap '{command}'")
    ended = "squeue -h -t all -j JOB -o %T"
    for site in sites:
        lab.wait_for(
            lambda site=site: site.ask(ended)[1] in (["COMPLETED"], ["FAILED"]), "the end of the job"
        )
    same(sites, "squeue -h -t all -j JOB -O 'State:|,exit_code:|,Reason:|,STDERR:|'")
    told = (
        "sacct -n -P -X -D -j JOB -o JobID,JobIDRaw,JobName,State,ExitCode,User,Partition,ReqMem,TimelimitRaw"
    )
    lab.wait_for(lambda: sites[0].ask(told) == sites[1].ask(told), "accounting to tell the same")


@pytest.mark.parametrize(
    "options",
    [
        "-t 20",
        "--mem=3G",
        "-N 9",
        "-c 100",
        "--hold",
        "--begin=now+1hour",
        "-p tiny -N 2",
        "-p tiny --mem=300",
    ],
)
def test_why_jobs_wait(fake: FakeSlurm, sites: tuple[Site, Site], options: str) -> None:
    """Slurm's word for it."""
    submit(fake, sites, f"{options} --wrap true")
    why = "squeue -h -j JOB -o '%T|%r'"
    lab.wait_for(lambda: sites[0].ask(why) == sites[1].ask(why), "the same reason")
    same(sites, "squeue -h -j JOB -o '%i|%K|%P|%l|%m'")


def test_a_directory_that_is_gone(fake: FakeSlurm, sites: tuple[Site, Site], tmp_path: Path) -> None:
    """The job runs in /tmp and says so."""
    logs = []
    for site, name in zip(sites, ("real", "fake"), strict=True):
        site.submit(f"-D /no/such -o {tmp_path}/{name}.log --wrap pwd")
        done = "squeue -h -t all -j JOB -o %T"
        lab.wait_for(lambda site=site, done=done: site.ask(done)[1] == ["COMPLETED"], "the end of the job")
        log = (tmp_path / f"{name}.log").read_text()
        logs.append(
            set(re.sub(r"slurmstepd-n\d", "slurmstepd", log).splitlines())
        )  # several slurmd on one host
    assert logs[0] == logs[1]
