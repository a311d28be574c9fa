"""Text from outside, as it is shown to people. Pure."""


def printable(text: str) -> str:
    """Return `text` with its control and format characters as escapes; a line break stays."""
    return "".join([each if each.isprintable() or each == "\n" else ascii(each)[1:-1] for each in text])


def one_line(text: str) -> str:
    """Return `text` as one line, without control characters."""
    return printable(" ".join(text.split()))
