"""Whom users may name, and what they are told when that is nobody."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jobmon.core.exceptions import UsageError
from jobmon.core.notify_target import (
    NotifyChannel,
    NotifyTarget,
    OpenChannels,
    host_is_allowed,
    parse_target,
    parse_targets,
    require_open,
)


@pytest.mark.parametrize(
    ("text", "channel", "address"),
    [
        ("#forecasts", NotifyChannel.SLACK, "#forecasts"),
        (" @ada ", NotifyChannel.SLACK, "@ada"),
        ("mail:ada@example.org", NotifyChannel.MAIL, "ada@example.org"),
        ("mailto:ada@example.org", NotifyChannel.MAIL, "ada@example.org"),
        ("https://example.org/hook?a=b", NotifyChannel.WEBHOOK, "https://example.org/hook?a=b"),
        ("http://127.0.0.1:8000", NotifyChannel.WEBHOOK, "http://127.0.0.1:8000"),
    ],
)
def test_addresses(text: str, channel: NotifyChannel, address: str) -> None:
    target = parse_target(text)
    assert target == NotifyTarget(channel, address)
    assert parse_target(str(target)) == target


@pytest.mark.parametrize(
    "text",
    [
        "forecasts",
        "#",
        "# x",
        "mail:",
        "mail:ada",
        "mail:a@b\nBcc: c@d",
        "ftp://x",
        "https://",
        "https://a:b:c/",
        "x" * 501,
    ],
)
def test_what_is_no_address_is_refused_with_what_would_be(text: str) -> None:
    with pytest.raises(UsageError, match=r"#channel|characters"):
        parse_target(text)


def test_a_bare_mail_address_is_understood_and_a_secret_is_not_repeated() -> None:
    with pytest.raises(UsageError, match=r"Did you mean mail:ada@example\.org"):
        parse_target("ada@example.org")
    with pytest.raises(UsageError) as caught:
        parse_target("htps://hooks.example.org/hunter2")
    assert "hunter2" not in str(caught.value)


@given(st.text(max_size=60))
def test_any_text_is_an_address_or_refused(text: str) -> None:
    try:
        target = parse_target(text)
    except UsageError:
        return
    assert "\n" not in target.address
    assert parse_target(str(target)) == target


def test_lists() -> None:
    """Each once; with commas or as a list; nothing is nobody; not without end."""
    assert parse_targets(None) == parse_targets("") == parse_targets([]) == []
    assert [str(t) for t in parse_targets("#a, mail:b@c.d,#a")] == ["#a", "mail:b@c.d"]
    assert [str(t) for t in parse_targets(["#a", "@b"])] == ["#a", "@b"]
    with pytest.raises(UsageError, match="of which there may be"):
        parse_targets([f"#c{n}" for n in range(21)])
    with pytest.raises(UsageError, match="takes texts"):
        parse_targets([1])  # type: ignore[list-item]


def test_hosts() -> None:
    allowed = ["hooks.example.org", "127.0.0.1:8000", "*.internal"]
    for url in (
        "https://hooks.example.org/x",
        "http://127.0.0.1:8000/",
        "https://a.b.internal",
        "https://HOOKS.example.org:99",
    ):
        assert host_is_allowed(url, allowed), url
    for url in (
        "https://example.org",
        "http://127.0.0.1:8001",
        "https://internal",
        "https://hooks.example.org.evil",
        "https://x@evil/",
    ):
        assert not host_is_allowed(url, allowed), url
    assert not host_is_allowed("https://hooks.example.org@evil/", allowed)


@pytest.mark.parametrize(
    ("target", "there", "message"),
    [
        (
            "#a",
            OpenChannels([NotifyChannel.MAIL]),
            r"cannot tell #a: slack is not configured there \(configured: mail\)",
        ),
        ("mail:a@b.c", OpenChannels(), "configured: none"),
        (
            "https://evil/secret",
            OpenChannels([NotifyChannel.WEBHOOK], ["good"]),
            "sends nothing to evil, but to: good",
        ),
        (
            "mail:a@b.c",
            OpenChannels([NotifyChannel.MAIL], [], ["x.org"]),
            "sends no mail to b.c, but to: x.org",
        ),
    ],
)
def test_what_a_server_does_not_offer_is_refused(target: str, there: OpenChannels, message: str) -> None:
    with pytest.raises(UsageError, match=message) as caught:
        require_open([parse_target(target)], there)
    assert "secret" not in str(caught.value)
