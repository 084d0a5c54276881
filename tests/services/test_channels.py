"""Slack, mail and webhooks against other sides on loopback: what arrives, and what is made of answers that are none."""

from __future__ import annotations

import hashlib
import hmac
import socket
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from other_sides import Answer, FakeMail, FakeWeb

from jobmon.core.configuration import JobmonConfig
from jobmon.core.exceptions import ConfigError
from jobmon.core.notify_target import NotifyChannel, parse_target
from jobmon.server.services.notify.channels import NotifySettings, make_channel
from jobmon.server.services.notify.notice import DeliveryError, Notice
from jobmon.server.services.notify.slack import base_url
from processes import free_port

TOKEN = "xoxb-hunter2"


def notice(target: str, **more: Any) -> Notice:
    words = "Workflow 1 <is> done\nsecond line"
    return Notice("run-1-1", parse_target(target), "Jobmon: a & b", words, {"event": "run_end"}, **more)


def secret(tmp_path: Path, text: str, name: str = "secret", mode: int = 0o600) -> str:
    path = tmp_path / name
    path.write_text(text)
    path.chmod(mode)
    return str(path)


def configured(**sections: dict[str, Any]) -> JobmonConfig:
    return JobmonConfig(dict_config=sections)


def error_of(config: JobmonConfig, target: str) -> DeliveryError:
    """What becomes of a notice that cannot be told; never with a secret in it."""
    found = notice(target)
    with pytest.raises(DeliveryError) as caught:
        make_channel(config, found.target.channel).send(found)
    for each in ("hunter2", "garbage"):
        assert each not in str(caught.value)
    return caught.value


# -- Slack ------------------------------------------------------------------------------------------------
def slack(web: FakeWeb, tmp_path: Path) -> JobmonConfig:
    return configured(
        slack={"token_file": secret(tmp_path, f"{TOKEN}\n"), "api_url": f"{web.url}/api/"},
        notify={"timeout_seconds": 1},
    )


def test_a_message_to_slack(web: FakeWeb, tmp_path: Path) -> None:
    make_channel(slack(web, tmp_path), NotifyChannel.SLACK).send(notice("#forecasts"))
    (request,) = web.received
    assert request.path == "/api/chat.postMessage"
    assert request.headers["authorization"] == f"Bearer {TOKEN}"
    assert request.form["channel"] == "#forecasts"
    assert request.form["text"] == "*Jobmon: a &amp; b*\nWorkflow 1 &lt;is&gt; done\nsecond line"
    assert TOKEN not in request.body.decode()


JSON = {"Content-Type": "application/json"}


@pytest.mark.parametrize(
    ("answer", "is_final", "wait"),
    [
        ((200, JSON, b'{"ok": false, "error": "channel_not_found"}'), True, 0),
        ((200, JSON, b'{"ok": false, "error": "invalid_auth"}'), True, 0),
        ((429, {**JSON, "Retry-After": "7"}, b'{"ok": false, "error": "ratelimited"}'), False, 7),
        ((500, {}, b"garbage"), False, 0),
        ((200, JSON, b"garbage"), False, 0),
        ((200, JSON, b"[1, 2]"), False, 0),
        ((200, {}, b"\xff\x00garbage" * 1000), False, 0),
    ],
)
def test_answers_of_slack(web: FakeWeb, tmp_path: Path, answer: Answer, is_final: bool, wait: float) -> None:
    web.answers = [answer]
    error = error_of(slack(web, tmp_path), "#forecasts")
    assert (error.is_final, error.retry_after_seconds) == (is_final, wait)


def test_a_slack_that_hangs_or_is_away(web: FakeWeb, tmp_path: Path) -> None:
    web.gate.clear()
    assert not error_of(slack(web, tmp_path), "#forecasts").is_final
    away = configured(
        slack={"token": TOKEN, "api_url": f"http://127.0.0.1:{free_port()}/"}, notify={"timeout_seconds": 1}
    )
    assert not error_of(away, "#forecasts").is_final


def test_older_names_of_the_settings_of_slack(web: FakeWeb) -> None:
    """The address of the method, the token and the channel as the reaper's options were called."""
    config = configured(
        reaper={
            "slack_api_url": f"{web.url}/api/chat.postMessage",
            "slack_token": TOKEN,
            "slack_channel_default": "#old",
        }
    )
    (target,) = NotifySettings.from_config(config).targets_of("lost_run")
    make_channel(config, NotifyChannel.SLACK).send(notice(str(target)))
    assert web.received[0].form["channel"] == "#old"
    assert base_url("") == "https://slack.com/api/"


# -- mail -------------------------------------------------------------------------------------------------
def by_mail(port: int, **more: Any) -> JobmonConfig:
    return configured(
        notify={
            "mail_host": "127.0.0.1",
            "mail_port": port,
            "mail_security": "none",
            "mail_from": "jobmon@example.org",
            "timeout_seconds": 1,
            **more,
        }
    )


def test_a_mail(mail: FakeMail) -> None:
    """Every try has the same Message-ID, and the answer of a robot is not asked for."""
    channel = make_channel(by_mail(mail.port), NotifyChannel.MAIL)
    for _ in range(2):
        channel.send(notice("mail:ada@example.org"))
    first, second = mail.messages
    assert (first["From"], first["To"]) == ("jobmon@example.org", "ada@example.org")
    assert first["Subject"] == "Jobmon: a & b"
    assert first["Message-ID"] == second["Message-ID"] == "<run-1-1@example.org>"
    assert first["Auto-Submitted"] == "auto-generated"
    assert str(first.get_payload()).splitlines() == ["Workflow 1 <is> done", "second line"]


@pytest.mark.parametrize(("refusal", "is_final"), [("550 hunter2 unknown", True), ("451 later", False)])
def test_a_recipient_that_is_refused(mail: FakeMail, refusal: str, is_final: bool) -> None:
    mail.refusal = refusal
    assert error_of(by_mail(mail.port), "mail:ada@example.org").is_final is is_final


@pytest.fixture
def mute() -> Iterator[int]:
    """A port that takes connections and says nothing, or garbage."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server.getsockname()[1]


def test_a_mail_server_that_hangs_talks_garbage_or_is_away(mute: int) -> None:
    assert not error_of(by_mail(mute), "mail:ada@example.org").is_final
    assert not error_of(by_mail(free_port()), "mail:ada@example.org").is_final

    def babble() -> None:
        connection, _ = server.accept()
        connection.sendall(b"\x00\xff garbage\r\n" * 100)
        connection.close()

    with socket.create_server(("127.0.0.1", 0)) as server:
        thread = threading.Thread(target=babble)
        thread.start()
        assert not error_of(by_mail(server.getsockname()[1]), "mail:ada@example.org").is_final
        thread.join(5)


def test_no_password_in_the_clear(mail: FakeMail, tmp_path: Path) -> None:
    """Neither to a server without TLS by configuration, nor to one that offers none."""
    login = {"mail_user": "u", "mail_password_file": secret(tmp_path, "hunter2")}
    with pytest.raises(ConfigError, match="in the clear"):
        make_channel(by_mail(mail.port, **login), NotifyChannel.MAIL)
    error_of(by_mail(mail.port, mail_security="starttls", **login), "mail:ada@example.org")
    assert mail.messages == []


# -- webhooks ---------------------------------------------------------------------------------------------
def test_a_signed_webhook(web: FakeWeb, tmp_path: Path) -> None:
    config = configured(notify={"webhook_secret_file": secret(tmp_path, "key")})
    make_channel(config, NotifyChannel.WEBHOOK).send(notice(f"{web.url}/hook?x=1"))
    (request,) = web.received
    assert (request.path, request.json) == ("/hook?x=1", {"event": "run_end"})
    assert request.headers["x-jobmon-delivery"] == "run-1-1"
    moment = request.headers["x-jobmon-timestamp"]
    expected = hmac.new(b"key", moment.encode() + b"." + request.body, hashlib.sha256).hexdigest()
    assert request.headers["x-jobmon-signature"] == f"sha256={expected}"


@pytest.mark.parametrize(
    ("answer", "is_final", "wait"),
    [
        ((404, {}, b""), True, 0),
        ((302, {"Location": "/elsewhere"}, b""), True, 0),
        ((503, {"Retry-After": "5"}, b"garbage"), False, 5),
        ((429, {"Retry-After": "soon"}, b""), False, 0),
        ((500, {}, b"garbage" * 100_000), False, 0),
    ],
)
def test_answers_of_webhooks(web: FakeWeb, answer: Answer, is_final: bool, wait: float) -> None:
    """No redirect is followed, no more is read than the status."""
    web.answers = [answer]
    error = error_of(configured(), f"{web.url}/hunter2")
    assert (error.is_final, error.retry_after_seconds) == (is_final, wait)
    assert len(web.received) == 1


def test_a_webhook_that_hangs_or_drips(web: FakeWeb, mute: int) -> None:
    """The time is over for the whole answer, not for each drop of it."""
    config = configured(notify={"timeout_seconds": 0.5})
    web.gate.clear()
    assert not error_of(config, web.url).is_final
    assert not error_of(config, f"http://127.0.0.1:{mute}").is_final
    ended = threading.Event()

    def drip() -> None:
        connection, _ = server.accept()
        try:
            connection.sendall(b"HTTP/1.1 200 OK\r\n")
            while not ended.wait(0.1):
                connection.sendall(b"X-Drop: 1\r\n")
        except OSError:
            pass
        connection.close()

    with socket.create_server(("127.0.0.1", 0)) as server:
        thread = threading.Thread(target=drip)
        thread.start()
        assert not error_of(config, f"http://127.0.0.1:{server.getsockname()[1]}").is_final
        ended.set()
        thread.join(5)


# -- configuration ----------------------------------------------------------------------------------------
def test_a_secret_that_others_can_read_is_refused(tmp_path: Path) -> None:
    path = secret(tmp_path, TOKEN, mode=0o644)
    with pytest.raises(ConfigError, match=f"chmod 600 {path}") as caught:
        make_channel(configured(slack={"token_file": path}), NotifyChannel.SLACK)
    assert TOKEN not in str(caught.value)
    with pytest.raises(ConfigError, match="cannot be read"):
        make_channel(configured(slack={"token_file": str(tmp_path / "none")}), NotifyChannel.SLACK)
    with pytest.raises(ConfigError, match="is empty"):
        make_channel(configured(slack={"token_file": secret(tmp_path, " ")}), NotifyChannel.SLACK)


def test_who_is_told_of_what() -> None:
    """A kind of news may have its own addresses, also none."""
    settings = NotifySettings.from_config(
        configured(
            notify={"default": "#ops, mail:a@b.c", "channels": {"bad_node": "#nodes", "void_attempt": ""}}
        )
    )
    assert [str(each) for each in settings.targets_of("lost_run")] == ["#ops", "mail:a@b.c"]
    assert [str(each) for each in settings.targets_of("bad_node")] == ["#nodes"]
    assert settings.targets_of("void_attempt") == []
    with pytest.raises(ConfigError, match=r"notify\.default"):
        NotifySettings.from_config(configured(notify={"default": "ops"}))


def test_what_is_open_to_users() -> None:
    assert NotifySettings.from_config(configured()).open_to_users.channels == []
    config = configured(
        slack={"token": TOKEN},
        notify={"mail_host": "m", "webhook_hosts": "a.b, *.c", "mail_domains": "X.org"},
    )
    there = NotifySettings.from_config(config).open_to_users
    assert there.channels == list(NotifyChannel)
    assert (there.webhook_hosts, there.mail_domains) == (["a.b", "*.c"], ["x.org"])
