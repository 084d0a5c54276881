"""From the name of a cluster type to its plugin, wherever that was installed."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from jobmon.core.cluster_protocol import ClusterDistributor, ClusterQueue, ClusterWorkerNode
from jobmon.core.cluster_type import ClusterType, plugin_module
from jobmon.core.exceptions import UnknownClusterError

PLUGIN = """
from jobmon.plugins.dummy import get_cluster_distributor_class, get_cluster_queue_class, get_cluster_worker_node_class
"""
LACKING = """
from jobmon.plugins.dummy import get_cluster_queue_class, get_cluster_worker_node_class
"""


@pytest.fixture(autouse=True)
def _nothing_remembered() -> Iterator[None]:
    """Plugins found by one test are forgotten by the next."""
    known = set(sys.modules)
    plugin_module.cache_clear()
    yield
    plugin_module.cache_clear()
    for name in set(sys.modules) - known:
        if name.startswith(("jobmon.plugins.", "site_plugin")):
            del sys.modules[name]


def install(directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(directory))
    importlib.invalidate_caches()


def add_portion(root: Path, monkeypatch: pytest.MonkeyPatch, **modules: str) -> None:
    """Another wheel's part of the namespace ``jobmon.plugins``."""
    portion = root / "portion" / "jobmon" / "plugins"
    portion.mkdir(parents=True)
    for name, text in modules.items():
        (portion / f"{name}.py").write_text(text)
    install(root / "portion", monkeypatch)


def add_entry_point(root: Path, monkeypatch: pytest.MonkeyPatch, name: str, text: str) -> None:
    """Another wheel with a module of its own and an entry point to it."""
    wheel = root / "wheel"
    metadata = wheel / "site_plugin-1.0.dist-info"
    metadata.mkdir(parents=True)
    (wheel / "site_plugin.py").write_text(text)
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: site-plugin\nVersion: 1.0\n")
    (metadata / "entry_points.txt").write_text(f"[jobmon.plugins]\n{name} = site_plugin\n")
    install(wheel, monkeypatch)


@pytest.mark.parametrize("name", ["dummy", "multiprocess", "sequential"])
def test_the_three_that_come_with_jobmon(name: str) -> None:
    found = ClusterType(name)
    assert found.name == name
    assert found.module.__name__ == f"jobmon.plugins.{name}"
    assert issubclass(found.cluster_queue_class, ClusterQueue)
    assert issubclass(found.cluster_distributor_class, ClusterDistributor)
    assert issubclass(found.cluster_worker_node_class, ClusterWorkerNode)
    assert found.cluster_distributor_class("mine").cluster_name == "mine"
    assert found.cluster_distributor_class("mine").capabilities.runs_commands
    assert found.cluster_queue_class(1, "null.q", {}).queue_name == "null.q"
    assert found.cluster_worker_node_class().array_step_id is None


@pytest.mark.parametrize("name", ["slrm", "", "__init__", "../dummy", "Dummy", "dummy.x"])
def test_an_unknown_type_is_told_with_those_installed(name: str) -> None:
    with pytest.raises(UnknownClusterError) as caught:
        ClusterType(name)
    assert f"'{name}'" in str(caught.value)
    assert "dummy, multiprocess, sequential" in str(caught.value)
    assert isinstance(caught.value, ValueError)  # what callers of older versions catch


def test_a_module_another_wheel_adds_to_the_namespace(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    add_portion(tmp_path, monkeypatch, site_cluster=PLUGIN)
    assert ClusterType("site_cluster").module.__name__ == "jobmon.plugins.site_cluster"
    assert ClusterType("multiprocess").module.__name__ == "jobmon.plugins.multiprocess"
    with pytest.raises(UnknownClusterError, match="multiprocess, sequential, site_cluster"):
        ClusterType("other")


def test_an_entry_point(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    add_entry_point(tmp_path, monkeypatch, "far-away", PLUGIN)
    assert ClusterType("far-away").module.__name__ == "site_plugin"
    with pytest.raises(UnknownClusterError, match="dummy, far-away, multiprocess"):
        ClusterType("far_away")


def test_the_namespace_comes_before_entry_points(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody takes ``dummy`` over by accident."""
    add_entry_point(tmp_path, monkeypatch, "dummy", PLUGIN)
    assert ClusterType("dummy").module.__name__ == "jobmon.plugins.dummy"


def test_a_plugin_that_lacks_a_function(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    add_portion(tmp_path, monkeypatch, half=LACKING)
    with pytest.raises(AttributeError) as caught:
        ClusterType("half")
    assert "jobmon.plugins.half" in str(caught.value)
    assert "get_cluster_distributor_class()" in str(caught.value)


def test_a_plugin_that_cannot_be_imported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its own error is told, not that it is unknown."""
    add_portion(tmp_path, monkeypatch, broken="import a_package_nobody_has")
    with pytest.raises(ModuleNotFoundError, match="a_package_nobody_has"):
        ClusterType("broken")
