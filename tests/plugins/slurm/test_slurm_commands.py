"""The commands of Slurm, as words."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from jobmon.plugins.slurm import commands
from jobmon.plugins.slurm.amounts import split_id

IDS = st.lists(
    st.one_of(
        st.integers(1, 30).map(str),
        st.tuples(st.integers(1, 30), st.integers(1, 3_000)).map(lambda pair: f"{pair[0]}_{pair[1]}"),
    ),
    max_size=200,
)


@given(IDS)
def test_every_job_is_cancelled_and_no_other(ids: list[str]) -> None:
    """Elements of an array go into one word; whoever is named as a whole is cancelled as a whole."""
    words = [word for call in commands.cancel(ids) for word in call[1:]]
    whole = {each for each in ids if "_" not in each}
    parts = {each for each in ids if each.partition("_")[0] not in whole}
    cancelled = [(job_id, index) for job_id, indices in map(split_id, words) for index in indices or (None,)]
    assert len(cancelled) == len(set(cancelled))
    assert {job_id if index is None else f"{job_id}_{index}" for job_id, index in cancelled} == whole | parts


def test_many_are_cancelled_in_few_calls() -> None:
    """Ten thousand elements of one array are one call; two thousand arrays are four."""
    assert commands.cancel(f"7_{index}" for index in range(1, 10_001, 1))[0][0] == "scancel"
    assert len(commands.cancel(f"7_{index}" for index in range(1, 10_001))) == 1
    assert len(commands.cancel(str(number) for number in range(2_000))) == 4
    assert commands.cancel([]) == []


def test_too_many_ids_for_a_command_line() -> None:
    """Then the user's jobs are listed, whatever their ids."""
    few, many = (commands.list_jobs([str(n) for n in range(count)], "ann") for count in (2, 5_000))
    assert "--jobs=0,1" in few
    assert "--user=ann" in many
    assert max(map(len, many)) < 200


def test_nothing_of_a_job_around_leaks_into_a_submission() -> None:
    """The controller may itself be a job of Slurm; a person's usual account stays."""
    environment = {"SLURM_JOB_ID": "7", "SLURM_CPUS_PER_TASK": "4", "SLURM_CONF": "/c", "SBATCH_ACCOUNT": "a"}
    environment |= {"SBATCH_ARRAY_INX": "1-9", "SQUEUE_FORMAT": "%i", "PATH": "/bin", "LC_ALL": "de_DE"}
    kept = {"SLURM_CONF": "/c", "SBATCH_ACCOUNT": "a", "PATH": "/bin"}
    assert commands.environment_of_submission(environment) == {**kept, "LC_ALL": "de_DE"}
    plain = commands.environment_of_query(environment)
    assert plain == {**kept, "LC_ALL": "C", "SLURM_TIME_FORMAT": "standard", "SLURM_BITSTR_LEN": "0"}
