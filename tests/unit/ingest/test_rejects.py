"""The dead-letter row of a message that the client cannot read as a whole."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from include.ingest.quote import InvalidQuoteError
from include.ingest.rejects import message_row
from include.ingest.runs import ConsecutiveMessages


def unreadable() -> Any:
    """As confluent-kafka 2.16 answers for a header whose name is not UTF-8."""
    try:
        b"\xff\xfe".decode()
    except UnicodeDecodeError as error:
        raise SystemError("returned a result with an exception set") from error


def row(**parts: Any) -> Any:
    messages: Any = [SimpleNamespace(**({"key": lambda: b"BTC", "headers": lambda: [("trace", b"1")]} | parts))]
    consecutive = ConsecutiveMessages(2, 41, None, [5], [b"{"], messages)
    return message_row("t", consecutive, 0, InvalidQuoteError("not_json", "it is no JSON"))


def test_a_message_is_kept_with_key_and_headers() -> None:
    whole = row()
    assert (whole.offset, whole.key, whole.payload, whole.headers) == (41, b"BTC", b"{", [("trace", b"1")])
    assert whole.error == "it is no JSON"


def test_headers_that_cannot_be_read_cost_only_the_headers() -> None:
    kept = row(headers=unreadable)
    assert (kept.error_class, kept.key, kept.payload, kept.headers) == ("not_json", b"BTC", b"{", [])
    assert kept.error.startswith("it is no JSON; headers not readable, so not kept: ")
    assert r"b'\xff\xfe'" in kept.error
