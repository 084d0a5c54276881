"""The example of a plugin in a wheel of its own: it keeps the rules, is found both ways, and runs a workflow."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from jobmon.core.cluster_protocol import ClusterDistributor
from jobmon.core.cluster_type import plugin_module
from jobmon.core.local_server import LocalServerFiles, stop
from jobmon.testing.batch_conformance import BatchClusterConformance, BatchTraits

SOURCE = Path(__file__).parents[2] / "examples" / "site_plugin"


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with the wheel installed in it, as in any ``site-packages``."""
    root = tmp_path_factory.mktemp("site")
    shutil.copytree(SOURCE, root / "source")
    words = ["install", "--quiet", "--no-deps", "--no-build-isolation", "--no-compile"]
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", *words]
    subprocess.run([*pip, "--target", root / "packages", root / "source"], check=True, timeout=100)
    return root / "packages"


@pytest.fixture
def _on_path(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The sources can be imported, by this process and by the jobs."""
    source = str(SOURCE / "src")
    known = set(sys.modules)
    monkeypatch.syspath_prepend(source)
    monkeypatch.setenv("PYTHONPATH", source)
    plugin_module.cache_clear()
    yield
    plugin_module.cache_clear()
    for name in set(sys.modules) - known:
        if "atpool" in name:
            del sys.modules[name]


@pytest.mark.usefixtures("_on_path")
class TestAtpool(BatchClusterConformance):
    """Everything a batch cluster of single jobs must do."""

    @pytest.fixture
    def traits(self) -> BatchTraits:
        """It has no job arrays, does not check names, and tells only that a job lives."""
        return BatchTraits(
            tells_running=False,
            checks_names=False,
            limits_running=False,
            unknown_id="99999999",
        )

    @pytest.fixture
    def distributor(self, _on_path: None, tmp_path: Path) -> ClusterDistributor:
        """A pool of its own, with room for every job of a test."""
        distributor = plugin_module("atpool").get_cluster_distributor_class()
        made: ClusterDistributor = distributor("pool", directory=str(tmp_path / "pool"), slots=8)
        return made


@pytest.mark.usefixtures("_on_path")
def test_slots_are_obeyed(tmp_path: Path) -> None:
    """The second job waits for the first."""
    pool = plugin_module("atpool").get_cluster_distributor_class()("pool", directory=str(tmp_path), slots=1)
    command = "mkdir alone || exit 9; sleep 0.2; rmdir alone"
    ids = [pool.submit_to_batch_distributor(command, "job", {"working_dir": str(tmp_path)}) for _ in "abc"]
    assert pool.get_submitted_or_running(ids) == set(ids)
    while pool.get_submitted_or_running(ids):
        pass
    assert [pool.get_remote_exit_info(job_id)[0] for job_id in ids] == ["D", "D", "D"]


FIND = "from jobmon.core.cluster_type import ClusterType; print(ClusterType('atpool').module.__name__)"


def _found_as(directory: Path) -> str:
    environment = {**os.environ, "PYTHONPATH": str(directory)}
    words = [sys.executable, "-c", FIND]
    return subprocess.run(words, env=environment, check=True, capture_output=True, text=True).stdout.strip()


def test_found_by_its_entry_point(installed: Path, tmp_path: Path) -> None:
    """Without any module in the namespace."""
    packages = shutil.copytree(installed, tmp_path / "packages")
    shutil.rmtree(packages / "jobmon")
    assert _found_as(packages) == "jobmon_atpool"


def test_found_in_the_namespace(installed: Path, tmp_path: Path) -> None:
    """Without any entry point; Jobmon's own modules are still found."""
    packages = shutil.copytree(installed, tmp_path / "packages")
    for metadata in packages.glob("*.dist-info"):
        shutil.rmtree(metadata)
    assert _found_as(packages) == "jobmon.plugins.atpool"


def test_the_wheel_leaves_the_namespace_open(installed: Path) -> None:
    """An ``__init__.py`` would hide the modules of all other wheels."""
    assert not (installed / "jobmon" / "__init__.py").exists()
    assert not (installed / "jobmon" / "plugins" / "__init__.py").exists()


SCRIPT = """
from jobmon.client.api import Tool

tool = Tool(name="site plugin", default_cluster_name="pool")
tool.set_default_compute_resources_from_dict("pool", {"queue": "pool", "runtime": 60})
template = tool.get_task_template(
    template_name="square",
    command_template="test {number} != 3 || test -e again || {{ touch again; exit 4; }}; echo {number} > out.{number}",
    node_args=["number"],
)
workflow = tool.create_workflow(name="squares")
workflow.add_tasks(template.create_tasks(number=[1, 2, 3]))
status = workflow.run(seconds_until_timeout=100)
assert status == "D", status
"""


@pytest.mark.e2e
@pytest.mark.slow
def test_a_workflow_on_it(installed: Path, tmp_path: Path) -> None:
    """The cluster is registered, a workflow runs on it, and a failed task is tried again."""
    files = LocalServerFiles(tmp_path / "jobmon")
    (tmp_path / "script.py").write_text(SCRIPT)
    environment = {
        **{name: value for name, value in os.environ.items() if not name.startswith("JOBMON__")},
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        "PYTHONPATH": str(installed),
        "HOME": str(tmp_path),
        "JOBMON__EMBEDDED__DIRECTORY": str(files.directory),
        "JOBMON__DISTRIBUTOR__POLL_INTERVAL": "1",
        "JOBMON__DISTRIBUTOR__STEADY_POLL_INTERVAL": "1",
    }

    def run(*words: str) -> str:
        done = subprocess.run(
            words, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=110
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    try:
        told = run(
            "jobmon", "cluster", "sync", "pool", "--type", "atpool", "-p", f"directory={tmp_path}/pool"
        )
        assert "pool" in told
        run(sys.executable, "script.py")
    finally:
        if files.directory.exists():
            stop(files)
    assert {path.name for path in tmp_path.glob("out.*")} == {"out.1", "out.2", "out.3"}
    assert len(list((tmp_path / "pool" / "jobs").iterdir())) == 4
