"""A message as a line of JSON: one line, valid in any encoding, and nothing in it that a terminal obeys."""

import codecs
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from outboxkit.process.streams import ESCAPE, escaped
from relay.core.event import Message, Route
from relay.publishing.json_lines import json_line

EDGES = st.sampled_from(
    [
        "\udfff",
        "\n",
        "\r",
        "\x00",
        "\x1b",
        "\x7f",
        "\x85",
        "\x9b",
        "\u2028",
        "\u2029",
        "\xe9",
        "\U0001f600",
        '"',
    ]
)
TEXTS = st.one_of(st.text(), st.lists(EDGES).map("".join))


def line(text: str, body: bytes, content_type: str, encoding: str) -> bytes:
    """Return a message with `text` wherever a text may be, as `encoding` writes it."""
    message = Message(
        "1", Route(text, text, text, text, content_type), text, 1, 1, 0, {"h": [text], f"_{text}": 1}, body
    )
    codecs.register_error(ESCAPE, escaped)
    return json_line(message).encode(encoding, ESCAPE)


@pytest.mark.parametrize("encoding", ["utf-8", "latin-1", "ascii"])
@given(TEXTS, st.recursive(TEXTS, lambda inner: st.lists(inner) | st.dictionaries(TEXTS, inner)), st.booleans())
def test_it_is_one_line_that_reads_back_whatever_text_is_in_it(
    encoding: str,
    text: str,
    value: object,
    pretty: bool,  # noqa: FBT001 - drawn by hypothesis
) -> None:
    valid = json.dumps(value, ensure_ascii=False, indent="\r\n\t" if pretty else None)
    body = valid.encode() if _is_text(valid) else json.dumps(value).encode()
    written = line(text, body, "application/json", encoding)
    printed = written.decode(encoding)
    assert len(printed.splitlines()) == 1
    assert not [each for each in printed if each != "\t" and (each < " " or "\x7f" <= each <= "\x9f")]
    read = json.loads(printed)
    assert (read["routing_key"], read["headers"]["h"]) == (text, [text])
    assert read["body"] == json.loads(body)


def _is_text(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def test_text_is_a_string_and_bytes_are_hexadecimal() -> None:
    assert json.loads(line("t", b"a\nb\xff", "text/plain; charset=utf-8", "utf-8"))["body"] == "a\nb\ufffd"
    assert json.loads(line("t", b"a\n", "application/octet-stream", "utf-8"))["body"] == "610a"
