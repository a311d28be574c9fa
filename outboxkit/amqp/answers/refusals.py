"""What an error of pika means: the Problem with its remedy."""

import re
from collections.abc import Sequence

from pika import exceptions as pika

from outboxkit.amqp.answers import preconditions
from outboxkit.amqp.errors import (
    AccessRefused,
    BrokerUnavailable,
    ChannelRefused,
    FramesRefused,
    FramesUnreadable,
    LoginRefused,
    PreconditionFailed,
    TlsRefused,
)
from outboxkit.errors import Problem

_PRECONDITION_FAILED = 406
_OF_CHANNELS = {403: AccessRefused, _PRECONDITION_FAILED: PreconditionFailed}
_NOT_ALLOWED = 530
# Python's ssl says this when the other side closed the connection without closing TLS.
_BROKEN_OFF = "EOF occurred in violation of protocol"
_CLIENT_CERTIFICATE = "RabbitMQ may want another client certificate: see AMQP_CERTIFICATE, AMQP_KEY, and RabbitMQ's log"
# Frame error, syntax error, internal error: https://www.rabbitmq.com/amqp-0-9-1-reference#constants
_OF_FRAMES = {501: FramesUnreadable, 502: FramesUnreadable, 541: FramesRefused}


def problem(error: BaseException, broker: str) -> Problem:
    """Return pika's `error` about `broker` (`host:port/vhost`) as a Problem with its remedy."""
    match error:
        case Problem():
            return error
        case pika.ProbableAuthenticationError() | pika.AuthenticationError():
            return LoginRefused(
                f"RabbitMQ at {broker} refused the user or password",
                remedy="check the AMQP URL's user and password against `rabbitmqctl list_users`",
            )
        case pika.ProbableAccessDeniedError():
            return _no_virtual_host(broker)
        case pika.ConnectionClosedByBroker(reply_code=code, reply_text=text):
            return _closed(broker, code, text)
        case pika.ChannelClosedByBroker(reply_code=code, reply_text=text):
            refused = _OF_CHANNELS.get(code, ChannelRefused)
            return refused(f"RabbitMQ at {broker} answered {code}: {text}", remedy=_channel_remedy(code, text))
        case _:
            return _unreachable(broker, _reason(error))


def all_of(problems: Sequence[Problem]) -> Problem:
    """Return the problems of all nodes of a cluster as one: it passes by itself if one of them does."""
    if len(problems) == 1:
        return problems[0]
    unavailable = any(isinstance(each, BrokerUnavailable) for each in problems)
    kind = BrokerUnavailable if unavailable else type(problems[0])
    what, remedies = "; ".join(each.what for each in problems), dict.fromkeys(each.remedy for each in problems)
    return kind(f"none of {len(problems)} RabbitMQ nodes is usable: {what}", remedy="; ".join(remedies))


def _closed(broker: str, code: int, text: str) -> Problem:
    if code == _NOT_ALLOWED:
        return _no_virtual_host(broker, f" ({text})")
    kind = _OF_FRAMES.get(code, BrokerUnavailable)
    return kind(f"RabbitMQ at {broker} closed the connection ({code}: {text})", remedy="see RabbitMQ's log")


def _no_virtual_host(broker: str, why: str = "") -> Problem:
    return LoginRefused(
        f"RabbitMQ at {broker} refused the virtual host{why}",
        remedy="create it and grant the user access: `rabbitmqctl add_vhost`, `rabbitmqctl set_permissions`",
    )


def _unreachable(broker: str, reason: str) -> Problem:
    if remedy := _tls_remedy(reason):
        return TlsRefused(f"TLS with RabbitMQ at {broker} fails ({reason})", remedy=remedy)
    remedy = "check that it runs and that the AMQP URL names it"
    if _BROKEN_OFF in reason:  # no alert was read: the broker crashed, or refused the certificate
        remedy += f"; {_CLIENT_CERTIFICATE}"
    return BrokerUnavailable(f"RabbitMQ at {broker} is not reachable ({reason})", remedy=remedy)


def _channel_remedy(code: int, text: str) -> str:
    if code == _PRECONDITION_FAILED:
        return preconditions.remedy(text)
    return {
        403: "grant the user configure, write or read on it: `rabbitmqctl set_permissions`; no user can write to an "
        "internal exchange",
        404: "create it: `relay setup` declares the exchange, `consumers run` its queue when it starts, so restart "
        "consumers that ran before; bind your own queues again; the application declares an exchange that a row names",
    }.get(code, "see RabbitMQ's log")


def _tls_remedy(reason: str) -> str | None:
    """Return what to do about OpenSSL's error, by its code; pika passes it on as text only."""
    code = re.search(r"\[SSL: (\w+)\]", reason)
    match code and code[1]:
        case "CERTIFICATE_VERIFY_FAILED":
            return "give the CA that signed its certificate (AMQP_CA), and name the host as the certificate does"
        case "WRONG_VERSION_NUMBER":
            return "that port does not speak TLS: name RabbitMQ's TLS listener, by default at 5671"
        case str(alert) if "ALERT" in alert:
            return _CLIENT_CERTIFICATE
        case _:
            return None


def _reason(error: BaseException) -> str:
    """Return the text of the innermost of pika's nested connector errors."""
    while True:
        parts = (*getattr(error, "exceptions", ()), getattr(error, "exception", None), *error.args)
        inner = next((part for part in parts if isinstance(part, BaseException)), None)
        if inner is None and isinstance(error, pika.ConnectionClosed):
            return str(error.reply_text)
        if inner is None:
            return str(error) or type(error).__name__
        error = inner
