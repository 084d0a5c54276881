"""The directory that a workflow's controller shares with the compute nodes of batch clusters."""

from __future__ import annotations

import os
import re
from pathlib import Path

from jobmon.core.configuration import JobmonConfig
from jobmon.core.exceptions import UsageError
from jobmon.distributor.private_file import write_private

PRIVATE = 0o700
_NOT_IN_NAMES = re.compile(r"[^A-Za-z0-9_.-]+")


class SharedDirectory:
    """What one workflow keeps there; only its owner may read it.

    Args:
        base: directory of all workflows.
        workflow_id: the workflow.
        key: tells it from the workflows of other databases that have the same id.

    Attributes:
        root: directory of this workflow.
        batches: batch files, which the wrappers read (:mod:`jobmon.distributor.batch_file`).
        spool: what wrappers leave when the server is away (:mod:`jobmon.distributor.spool`).
        server: file that tells the wrappers where the server is.
        logs: logs of tasks that name no directory.
        cluster_logs: logs of the cluster itself.
    """

    def __init__(self, base: Path, workflow_id: int, key: str = "") -> None:
        self.base = base
        self.root = base / (f"workflow_{workflow_id}.{key}" if key else f"workflow_{workflow_id}")
        self.batches, self.spool = self.root / "batches", self.root / "spool"
        self.server = self.root / "server"
        self.logs, self.cluster_logs = self.root / "logs", self.root / "cluster_logs"

    @classmethod
    def from_config(cls, config: JobmonConfig, workflow_id: int, key: str = "") -> SharedDirectory:
        """The one that the configuration names by ``distributor.shared_directory``."""
        named = Path(str(config.get("distributor", "shared_directory"))).expanduser()
        return cls(Path(os.path.abspath(named)), workflow_id, key)

    def prepare(self) -> None:
        """Create what is missing.

        Raises:
            UsageError: that is not possible; the message says what to set.
        """
        try:
            self.base.mkdir(parents=True, exist_ok=True)
            for directory in (self.root, self.batches, self.spool, self.logs, self.cluster_logs):
                directory.mkdir(mode=PRIVATE, exist_ok=True)
            os.chmod(self.root, PRIVATE)  # it may have been there, or the umask may have taken too much
            if not os.access(self.spool, os.W_OK | os.X_OK):
                raise PermissionError(0, "it may not be written to", str(self.spool))
        except OSError as error:
            raise UsageError(
                f"The directory {self.root}, which the compute nodes read, cannot be prepared: {error.strerror} "
                f"({error.filename}). Set distributor.shared_directory to a directory that is yours and that this "
                "machine shares with the compute nodes."
            ) from error

    def spool_of(self, cluster_name: str) -> Path:
        """Where the wrappers on one cluster leave their words."""
        return self.spool / _NOT_IN_NAMES.sub("_", cluster_name)

    def write_server(self, url: str, token: str, user: str) -> None:
        """Tell the wrappers, those that run too, where the server is.

        Args:
            url: its address with the route prefix; empty: nodes cannot reach it, and leave their words in the spool.
            token: bearer token; empty: none is asked for.
            user: name of who runs the workflow.

        Raises:
            UsageError: a value has more than one line.
            SharedFileError: the file cannot be written.
        """
        lines = (url.rstrip("/"), token, user)
        if any(not line.isprintable() for line in lines):
            raise UsageError(
                "The server's address, its token and the name of the user must each be one line of text; "
                "correct http.service_url or the file named by http.token_file."
            )
        write_private(self.server, "".join(f"{line}\n" for line in lines).encode())
