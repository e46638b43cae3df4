"""What ``amqp://`` URLs mean, and what is said of those that mean nothing."""

from __future__ import annotations

from pathlib import Path

import pytest

from brokerkit.errors import ConfigurationError
from brokerkit.transports.rabbitmq.url import Host, Options, Server, parse

SECRET = "s3cr3t"


@pytest.mark.parametrize(
    ("url", "server"),
    [
        ("amqp://", Server((Host("localhost", 5672),))),
        ("amqp://rabbit", Server((Host("rabbit", 5672),))),
        ("amqp://rabbit/", Server((Host("rabbit", 5672),))),
        ("amqp://rabbit//", Server((Host("rabbit", 5672),))),
        ("amqp://rabbit/%2F", Server((Host("rabbit", 5672),))),
        ("amqp://rabbit/shop", Server((Host("rabbit", 5672),), vhost="shop")),
        ("amqp://rabbit/a%2Fb%40c", Server((Host("rabbit", 5672),), vhost="a/b@c")),
        ("amqp://me:s3cr3t@rabbit:99/", Server((Host("rabbit", 99),), "me", SECRET)),
        ("amqp://m%40e:p%3A%2F%23@rabbit", Server((Host("rabbit", 5672),), "m@e", "p:/#")),
        ("amqp://me:p@ss@rabbit", Server((Host("rabbit", 5672),), "me", "p@ss")),
        ("amqps://rabbit", Server((Host("rabbit", 5671),), tls=True)),
        ("amqp://a:1,b,[::1]:3,[fe80::2]/v", Server(
            (Host("a", 1), Host("b", 5672), Host("::1", 3), Host("fe80::2", 5672)), vhost="v")),
        ("amqp://h/?heartbeat=5&connect_timeout=2.5&confirm_window=1024&consumer_timeout=60", Server(
            (Host("h", 5672),), options=Options(5, 2.5, 1024, 60))),
        ("amqps://h/?cafile=%2Fetc%2Fca.pem&certfile=c.pem&keyfile=k.pem", Server(
            (Host("h", 5671),), tls=True, options=Options(cafile="/etc/ca.pem", certfile="c.pem", keyfile="k.pem"))),
    ],
)  # fmt: skip
def test_a_url_says_where_and_how(url: str, server: Server) -> None:
    assert parse(url) == server


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("http://me:s3cr3t@host/", "begin with amqp"),
        ("amqp://me:s3cr3t@host:port/", "host or port"),
        ("amqp://me:s3cr3t@host:70000/", "host or port"),
        ("amqp://me:s3cr3t@host:0/", "host or port"),
        ("amqp://me:s3cr3t@h,,i/", "host or port"),
        ("amqp://me:s3cr3t@[::1/", "cannot be read"),
        ("amqp://me:s3cr3t@::1/", "host or port"),
        ("amqp://me:s3cr3t@[::1]x/", "host or port"),
        ("amqp://me:s3cr3t\u2100@host/", "cannot be read"),  # urllib repeats the whole login in its own error
        ("amqp://me:s/3cr3t@host/", "%2F for /"),
        ("amqp://me:12/3cr3t@host", "%2F for /"),
        ("amqp://me:12?3cr3t@host/", "%3F for ?"),
        ("amqp://me:12#3cr3t@host/", "%23 for #"),
        ("amqp://me@host/", "without the other"),
        ("amqp://:s3cr3t@host/", "without the other"),
        ("amqp://host/a/b", "%2F"),
        ("amqp://host/a#b", "%23"),
        ("amqp://host/?heartbeat=soon", "heartbeat"),
        ("amqp://host/?heartbeat=0", "heartbeat"),
        ("amqp://host/?confirm_window=5000", "confirm_window"),
        ("amqp://host/?connect_timeout=-1", "connect_timeout"),
        ("amqp://host/?connect_timeout=nan", "connect_timeout"),
        ("amqp://host/?verify=no", "verify"),
        ("amqp://host/?heartbeat", "heartbeat"),
        ("amqp://host/?cafile=ca.pem", "amqps://"),
        ("amqps://host/?keyfile=k.pem", "certfile"),
    ],
)
def test_a_url_that_means_nothing_is_refused_with_the_reason_and_without_the_password(url: str, said: str) -> None:
    with pytest.raises(ConfigurationError) as raised:
        parse(url)
    assert said in str(raised.value)
    assert "3cr3t" not in str(raised.value)
    assert raised.value.__suppress_context__ or raised.value.__cause__ is None


@pytest.mark.parametrize("url", ["amqp://me:s3cr3t@a:1,b/shop", "amqps://me:s3cr3t@a/?management=http://me:s3cr3t@a"])
def test_no_text_of_a_server_shows_a_password(url: str) -> None:
    server = parse(url)
    for text in (str(server), repr(server), f"{[server]}", server.at(server.hosts[0]), repr(server.options)):
        assert SECRET not in text
    assert "me:***@a" in str(server)


def test_the_nodes_of_a_server_are_told_apart_in_texts() -> None:
    server = parse("amqp://me:s3cr3t@a:1,[::1]:2/a%2Fb")
    assert [server.at(host) for host in server.hosts] == ["amqp://me:***@a:1/a%2Fb", "amqp://me:***@[::1]:2/a%2Fb"]


@pytest.mark.parametrize("option", ["cafile", "certfile"])
def test_a_file_of_the_tls_options_that_is_missing_is_named(option: str, tmp_path: Path) -> None:
    missing = tmp_path / "none.pem"
    with pytest.raises(ConfigurationError, match=f"{option}={missing} cannot be read: No such file"):
        parse(f"amqps://host/?{option}={missing}").tls_context()


@pytest.mark.parametrize("option", ["cafile", "certfile"])
def test_a_file_of_the_tls_options_that_holds_something_else_is_named(option: str, tmp_path: Path) -> None:
    file = tmp_path / "notes.pem"
    file.write_text("not a certificate")
    with pytest.raises(ConfigurationError, match=f"{option}={file} holds no usable certificate or key"):
        parse(f"amqps://host/?{option}={file}").tls_context()


def test_a_server_without_tls_has_no_tls_context() -> None:
    assert parse("amqp://host/").tls_context() is None
