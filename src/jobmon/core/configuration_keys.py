"""The keys of the configuration, with their defaults and meanings; :mod:`jobmon.core.configuration` reads values."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

ENV_PREFIX = "JOBMON__"


@dataclass(frozen=True)
class Key:
    """One configuration key.

    Attributes:
        section, name: ``section.name`` is how it is written; a dot in the name means a nested mapping.
        default: value where nothing else is said.
        meaning: a sentence for the documentation.
        secret: must not be shown.
        is_open: a mapping whose keys are the site's own.
        is_idle: accepted, so that files of other versions can be kept, but without effect in this one.
    """

    section: str
    name: str
    default: Any
    meaning: str
    secret: bool = False
    is_open: bool = False
    is_idle: bool = False

    @property
    def env(self) -> str:
        """Name of the environment variable."""
        return f"{ENV_PREFIX}{self.section.upper()}__{self.name.upper().replace('.', '__')}"


def _keys(section: str, *rows: tuple[Any, ...]) -> Iterator[Key]:
    for name, default, meaning, *flags in rows:
        yield Key(
            section,
            name,
            default,
            meaning,
            secret="secret" in flags,
            is_open="open" in flags,
            is_idle="idle" in flags,
        )


KEYS: tuple[Key, ...] = (
    *_keys(
        "http",
        ("service_url", "", "Address of the Jobmon server; empty: start and use a local one."),
        ("route_prefix", "/api/v3", "Prefix of every route."),
        ("request_timeout", 20, "Seconds one request may take."),
        ("retries_attempts", 10, "How often a request is tried."),
        ("retries_timeout", 300, "Seconds after which a request is given up."),
        ("gui_url", "", "Address of the web GUI; empty: the server's own."),
        ("token_file", "", "File (mode 0600) with the bearer token sent to http.service_url."),
    ),
    *_keys(
        "embedded",
        ("directory", "~/.jobmon", "Where the local server keeps its database, logs and records."),
        ("idle_shutdown_seconds", 900, "The local server ends itself after so long without use; 0: never."),
        ("startup_timeout_seconds", 60, "How long a start of the local server may take."),
        ("allow_network_filesystem", False, "Use embedded.directory although it is on a network filesystem."),
        (
            "node_interface",
            "auto",
            (
                "Where the local server listens for the compute nodes of a batch cluster while a workflow runs there: auto "
                "(the interface that routes to them), an address or host name of this machine, or none (their reports "
                "come through distributor.shared_directory). Controllers in jobs of other machines may use the local "
                "server only by an address that is named here."
            ),
        ),
    ),
    *_keys(
        "db",
        ("sqlalchemy_database_uri", "", "Database of the server, as a SQLAlchemy URI.", "secret"),
        ("sqlalchemy_connect_args", {}, "Extra arguments of the database driver.", "open"),
        ("pool.size", 8, "Connections kept open."),
        ("pool.max_overflow", 8, "Connections opened beyond that under load."),
        ("pool.timeout", 30, "Seconds a request waits for a connection."),
        ("pool.recycle", 300, "Seconds after which a connection is replaced."),
        ("pool.pre_ping", True, "Test a connection before it is used."),
    ),
    *_keys(
        "heartbeat",
        ("workflow_run_interval", 30, "Seconds between two signs of life of a controller."),
        ("task_instance_interval", 90, "Seconds between two signs of life of a remote task."),
        ("report_by_buffer", 3.1, "Intervals without a sign of life after which something counts as lost."),
        ("graceful_termination_retry_count", 3, "Heartbeats retried before a worker gives up.", "idle"),
        ("graceful_termination_retry_heartbeat", True, "Whether such heartbeats are retried.", "idle"),
    ),
    *_keys(
        "distributor",
        ("poll_interval", 10, "Seconds between two looks at a batch cluster while news are expected of it."),
        (
            "steady_poll_interval",
            30,
            "The same while tasks just wait and run; never shorter than poll_interval.",
        ),
        ("worker_node_entry_point", "", "Path of worker_node_entry_point on the compute nodes."),
        (
            "shared_directory",
            "~/.jobmon/shared",
            (
                "Directory the compute nodes of batch clusters share with this machine: logs of tasks that name none, "
                "what the wrappers read, and what they leave when the server is away."
            ),
        ),
        ("exclude_bad_nodes", True, "Whether jobs avoid nodes that failed lately."),
    ),
    *_keys(
        "worker_node",
        ("command_interrupt_timeout", 10, "Seconds a command has to end after it was asked to."),
        (
            "start_wait_seconds",
            10,
            "Seconds a remote task tries to reach the server before it starts without having told.",
        ),
        (
            "report_wait_seconds",
            60,
            (
                "Seconds a remote task that has ended tries to tell the server before it leaves its word in the shared "
                "directory."
            ),
        ),
    ),
    *_keys(
        "task",
        ("max_infrastructure_losses", 10, "Attempts a task may lose through no fault of its own."),
        ("bad_node_seconds", 3600, "Seconds the server remembers that a node of a cluster failed."),
        ("log_directory", "", "Default directory of tasks' logs; empty: logs/ in embedded.directory."),
    ),
    *_keys(
        "multiprocess",
        ("parallelism", 0, "Commands run at once on this machine; 0: as many as it has cores."),
    ),
    *_keys(
        "progress",
        ("enabled", True, "Whether workflow.run() shows progress on stderr."),
    ),
    *_keys(
        "logging",
        ("client_logconfig_file", "", "Logging configuration of the client (YAML, logging.config form)."),
        ("server_logconfig_file", "", "The same for jobmon-server."),
        ("distributor_logconfig_file", "", "The same for a detached controller."),
        ("worker_logconfig_file", "", "The same for the worker node wrapper.", "idle"),
        ("client", {}, "Overrides: formatters, handlers, loggers.", "open"),
        ("server", {}, "Overrides: formatters, handlers, loggers.", "open"),
        ("distributor", {}, "Overrides: formatters, handlers, loggers.", "open"),
        ("worker", {}, "Overrides: formatters, handlers, loggers.", "open", "idle"),
    ),
    *_keys(
        "auth",
        ("enabled", False, "Whether users sign in; this version cannot, and refuses to start a server then."),
    ),
    *_keys("session", ("secret_key", "", "Signs the browser's session cookie.", "secret", "idle")),
    *_keys(
        "oidc",
        ("name", "OIDC", "Name of the identity provider.", "idle"),
        ("conf_url", "", "Its discovery document.", "idle"),
        ("client_id", "", "Client id there.", "idle"),
        ("client_secret", "", "Client secret there.", "secret", "idle"),
        ("scope", "openid email profile", "Scopes asked for.", "idle"),
        ("redirect_uri", "", "Where the provider sends the browser back.", "idle"),
        ("login_landing_page_uri", "", "Where a login ends.", "idle"),
        ("admin_group", "", "Members may change every workflow.", "idle"),
    ),
    *_keys(
        "cors",
        ("allowed_origins", "http://localhost:3000,http://localhost:3001", "Origins of browsers.", "idle"),
    ),
    *_keys(
        "reaper",
        ("poll_interval_minutes", 5, "Minutes between two looks for lost runs."),
        ("slack_api_url", "", "Where the reaper reports.", "secret", "idle"),
        ("slack_token", "", "Its token.", "secret", "idle"),
        ("slack_channel_default", "", "Its channel.", "idle"),
    ),
    *_keys(
        "usage_integrator",
        (
            "poll_interval_seconds",
            60,
            "Seconds between two looks of jobmon-server usage-integrator for attempts whose use of resources is not known.",
        ),
        ("retire_age_hours", 48, "Hours after its end at which such an attempt is given up."),
    ),
    *_keys(
        "telemetry",
        ("deployment_environment", "prod", "Named in traces.", "idle"),
        ("debug", False, "Verbose telemetry.", "idle"),
        (
            "tracing",
            {},
            "Tracing: requester_enabled, server_enabled, span_exporter, exporters.",
            "open",
            "idle",
        ),
        ("logging", {}, "Log export: enabled, log_exporter, exporters.", "open", "idle"),
    ),
    *_keys(
        "otlp",
        ("web_enabled", False, "Traces of the server, as versions up to 3.2 spelt it.", "idle"),
        ("http_enabled", False, "Traces of requests, as versions up to 3.2 spelt it.", "idle"),
    ),
)
"""Every key there is; the reference in the documentation is made from this table."""
