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
        (
            "token",
            "",
            "The token itself, for the environment (JOBMON__HTTP__TOKEN); goes before the file.",
            "secret",
        ),
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
        "server",
        (
            "role",
            "all",
            "What jobmon-server start serves: state (what changes workflows), query (what only reads) or all.",
        ),
        ("host", "127.0.0.1", "Address it listens at."),
        ("port", 3000, "Port it listens at."),
        ("workers", 1, "Processes that share this address."),
        (
            "reuse_port",
            False,
            "Whether another jobmon-server of the same user may listen at this address too.",
        ),
        ("root_path", "", "Path below which a proxy shows the server, such as /jobmon."),
        (
            "trusted_proxies",
            "",
            "Addresses and networks, with commas, of proxies whose X-Forwarded-For and X-Forwarded-Proto are believed.",
        ),
        ("shutdown_seconds", 25, "Seconds requests have to be answered when a server is told to end."),
        ("max_request_bytes", 67_108_864, "Largest body of a request (413 beyond it); 0: any."),
        (
            "requests_per_second",
            0,
            (
                "Requests that one user may make, on average over some seconds and in each process (429 beyond it); reports of "
                "attempts do not count; 0: any number."
            ),
        ),
        (
            "max_concurrent_requests",
            1000,
            (
                "Requests one process works on at once (503 beyond it); controllers that wait for news do not count; "
                "0: any number."
            ),
        ),
    ),
    *_keys(
        "db",
        ("sqlalchemy_database_uri", "", "Database of the server, as a SQLAlchemy URI.", "secret"),
        (
            "query_sqlalchemy_database_uri",
            "",
            (
                "The same for servers of role query: a user that may only SELECT, or a replica; empty: "
                "db.sqlalchemy_database_uri."
            ),
            "secret",
        ),
        ("sqlalchemy_connect_args", {}, "Extra arguments of the database driver.", "open"),
        ("pool.size", 8, "Connections kept open."),
        ("pool.max_overflow", 8, "Connections opened beyond that under load."),
        ("pool.timeout", 30, "Seconds a request waits for a connection."),
        ("pool.recycle", 300, "Seconds after which a connection is replaced."),
        (
            "slow_statement_seconds",
            1.0,
            "From how many seconds on a statement is logged, with the route it was for; 0: never.",
        ),
        ("pool.pre_ping", True, "Test a connection before it is used."),
        (
            "reconnect_seconds",
            10,
            "Seconds for which the server tries again by itself when the database is away, before clients have to.",
        ),
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
        (
            "shared_job_seconds",
            60,
            (
                "Run time up to which short tasks of one array share a job of a batch cluster, one after the other, by what "
                "they ask for; 0: each has its own."
            ),
        ),
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
        ("format", "text", "How services write their log: text, or json (one object a line)."),
        (
            "access",
            "changes",
            (
                "Requests with a line in the log: changes (those that change something, take long or fail; not the reports "
                "of controllers and wrappers), all, or none (but for those that take long or fail)."
            ),
        ),
        ("slow_request_seconds", 5.0, "From how many seconds on a request takes long; 0: never."),
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
        (
            "mode",
            "",
            (
                "How jobmon-server knows who asks: none (it believes what is said, for loopback and friends), token (bearer "
                "tokens, jobmon-server token create), oidc (tokens for scripts, an identity provider for browsers); "
                "empty: what auth.enabled says. See operations/access."
            ),
        ),
        (
            "enabled",
            False,
            "Of older configurations: true means auth.mode oidc where oidc.conf_url is set, otherwise token; false: none.",
        ),
        (
            "allow_open",
            False,
            "Listen beyond this machine although auth.mode is none: who reaches it may change all.",
        ),
        ("token_days", 365, "Days for which jobmon-server token create makes a token when it is not told."),
        (
            "worker_token_days",
            30,
            "Days for which the token is good that a controller gives its tasks on compute nodes.",
        ),
    ),
    *_keys(
        "session",
        ("secret_key", "", "Signs the browser's session cookie; at least 32 characters.", "secret"),
        ("secret_key_file", "", "File (mode 0600) with that key; the same for all processes of a server."),
        ("hours", 12, "Hours after which a browser has to sign in again."),
    ),
    *_keys(
        "oidc",
        ("name", "OIDC", "Name of the identity provider, for people."),
        ("conf_url", "", "Its discovery document: https://…/.well-known/openid-configuration."),
        ("client_id", "", "Client id there."),
        ("client_secret", "", "Client secret there, for the environment.", "secret"),
        ("client_secret_file", "", "File (mode 0600) with the client secret."),
        ("scope", "openid email profile", "Scopes asked for."),
        (
            "redirect_uri",
            "",
            "Where the provider sends the browser back; empty: /api/auth/oidc/auth of this server.",
        ),
        ("login_landing_page_uri", "", "Where a login and a logout end; empty: this server's first page."),
        (
            "user_claim",
            "email",
            "The claim that is the user's name; of an e-mail address the part before the @.",
        ),
        (
            "groups_claim",
            "groups",
            "The claim that lists the user's groups; those that begin with app- do not count.",
        ),
        ("admin_group", "", "Members may change every workflow; empty: nobody may."),
        ("observer_group", "", "Members may look at everything and change nothing; empty: there are none."),
    ),
    *_keys(
        "cors",
        ("allowed_origins", "http://localhost:3000,http://localhost:3001", "Origins of browsers.", "idle"),
    ),
    *_keys(
        "lease",
        (
            "seconds",
            30,
            (
                "Of several servers on one database one does the work of the services (reaper, monitor, usage integrator, "
                "notification). So long after its last sign of life another one takes over."
            ),
        ),
    ),
    *_keys(
        "reaper",
        (
            "enabled",
            True,
            "Whether a server runs the services itself; false: jobmon-server reaper start does.",
        ),
        ("poll_interval_minutes", 5, "Minutes between two looks for lost runs."),
        ("grace_seconds", 60, "Seconds an overdue run is watched before it counts as lost."),
        ("orphan_seconds", 300, "Seconds an attempt has to end by itself when its run is over."),
        (
            "ordered_remote_hours",
            24,
            "The same, in hours, on a batch cluster, after an order to end: its job may wait in a queue.",
        ),
        (
            "silent_remote_hours",
            0,
            (
                "Hours without a sign of life after which an attempt on a batch cluster, whose run is over, counts as lost; "
                "0: never, the next run asks the cluster."
            ),
        ),
        ("slack_api_url", "", "Older name of slack.api_url.", "secret"),
        ("slack_token", "", "Older name of slack.token.", "secret"),
        ("slack_channel_default", "", "Older name of notify.default: a Slack channel."),
    ),
    *_keys(
        "monitor",
        ("enabled", True, "Whether the services look for nodes that fail more often than others."),
        ("poll_interval_seconds", 120, "Seconds between two such looks."),
        ("window_minutes", 60, "How far back they look."),
        ("min_failures", 5, "Tasks that must have failed on a node before it is suspected."),
        ("min_failure_rate", 0.2, "Share of a node's tasks that must have failed."),
        (
            "false_alarm_rate",
            0.001,
            "How probable it may be that a look suspects any node of a cluster though none is worse than others.",
        ),
        ("exclude_nodes", False, "Whether jobs avoid a suspected node, for task.bad_node_seconds."),
        (
            "silent_hours",
            1,
            "Hours without a sign of life after which attempts that outlived their run are told of.",
        ),
    ),
    *_keys(
        "notify",
        (
            "default",
            "",
            (
                "Whom the services tell: #channel, mail:address or https://…, several with commas; empty: the log only. See "
                "operations/services."
            ),
        ),
        ("channels", {}, "The same for single kinds of news, such as bad_node or lost_run.", "open"),
        ("fold_minutes", 60, "Minutes within which the same alarm is counted and not told again."),
        ("timeout_seconds", 10, "Seconds one attempt to tell somebody may take."),
        ("max_tries", 8, "How often that is tried."),
        (
            "webhook_hosts",
            "",
            "Hosts to which users' webhooks may go (host, host:port, *.domain); empty: to none.",
        ),
        ("webhook_secret_file", "", "File (mode 0600) with the key by which webhooks are signed."),
        ("mail_host", "", "SMTP server; empty: no e-mail."),
        ("mail_port", 587, "Its port."),
        ("mail_security", "starttls", "starttls, tls or none."),
        ("mail_from", "", "Sender's address; empty: jobmon@ and the name of the server's machine."),
        ("mail_user", "", "User at the SMTP server; empty: no login."),
        ("mail_password_file", "", "File (mode 0600) with that user's password."),
        ("mail_domains", "", "Domains to which users may have mail sent, with commas; empty: to all."),
        (
            "on_end",
            "",
            "Whom workflow.run() has told of its end when it does not say itself (its argument notify).",
        ),
    ),
    *_keys(
        "slack",
        (
            "token_file",
            "",
            "File (mode 0600) with the token of a Slack bot that may write messages (chat:write).",
        ),
        ("token", "", "The token itself, for the environment.", "secret"),
        ("api_url", "https://slack.com/api/", "Slack's web API."),
    ),
    *_keys(
        "usage_integrator",
        ("enabled", False, "Whether the services ask batch clusters what killed attempts used."),
        (
            "poll_interval_seconds",
            60,
            "Seconds between two looks for attempts whose use of resources is not known.",
        ),
        ("retire_age_hours", 48, "Hours after its end at which such an attempt is given up."),
    ),
    *_keys(
        "metrics",
        (
            "states_seconds",
            15,
            "Seconds for which counts of workflows, tasks and attempts by state are good at /metrics; 0: they are not told.",
        ),
    ),
    *_keys(
        "telemetry",
        ("deployment_environment", "prod", "Named in traces."),
        ("debug", False, "Whether all troubles of sending traces are logged, not just one now and then."),
        (
            "tracing",
            {},
            (
                "Traces (needs jobmon[otel]): requester_enabled, server_enabled, span_exporter (console_span, http_span, "
                "grpc_span or one of exporters), exporters (name: module, class, endpoint ...)."
            ),
            "open",
        ),
        ("logging", {}, "Log export: enabled, log_exporter, exporters.", "open", "idle"),
    ),
    *_keys(
        "otlp",
        ("web_enabled", False, "Older name of telemetry.tracing.server_enabled."),
        ("http_enabled", False, "Older name of telemetry.tracing.requester_enabled."),
    ),
)
"""Every key there is; the reference in the documentation is made from this table."""
