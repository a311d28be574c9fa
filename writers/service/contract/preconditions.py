"""If-Match: which version a request wants to change (https://www.rfc-editor.org/rfc/rfc9110#name-if-match). Pure."""

import re

from writers.service.contract.problems import invalid

_TAG = r'(?:W/)?"[!#-~\x80-\xff]*"'
_TAGS = re.compile(rf"{_TAG}(?:[ \t]*,[ \t]*{_TAG})*")
_VERSION = re.compile(r'"([1-9][0-9]{0,17})"')
NONE = 0
"""No task has this version."""


def expected(if_match: str | None) -> int | None:
    """Return the version that `if_match` names: None for any, NONE for an ETag that no task has; raises Answered."""
    text = "*" if if_match is None else if_match.strip(" \t")
    if text == "*":
        return None
    if not _TAGS.fullmatch(text):
        raise invalid("header.if-match", 'it is no ETag: send one such as "3", with its quotes')
    versions = {int(found) for found in _VERSION.findall(text)} if "W/" not in text else set()
    if len(versions) > 1:
        raise invalid("header.if-match", "it names several versions: send the one that you have seen")
    return next(iter(versions), NONE)
