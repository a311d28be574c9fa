"""Tells which JSON text nests deeper than the relay reads it. Pure.

Python's parser has a limit of its own, which depends on the version: from 3.12 on, it reads text that Postgres refuses,
and that Python's `json.dumps` cannot write back.
"""

import re

MOST_DEEP = 200
"""How deep objects and arrays may nest: deeper than any message carries them (relay/publishing/encoding.py)."""

# A string ends where the text does, if nothing else ends it: so every character is looked at once.
_MARK = re.compile(r'"[^"\\]*(?:\\.[^"\\]*)*"?|[{}\[\]]', re.DOTALL)


def too_deep(text: str) -> bool:
    """Return whether objects and arrays in `text` nest deeper than `MOST_DEEP`; it need not be JSON."""
    if len(text) <= MOST_DEEP or text.count("{") + text.count("[") <= MOST_DEEP:
        return False
    depth = 0
    for found in _MARK.finditer(text):
        match text[found.start()]:
            case "{" | "[":
                depth += 1
                if depth > MOST_DEEP:
                    return True
            case "}" | "]":
                depth -= 1
    return False
