"""The address of an HTTP endpoint, as it is written in settings. Pure."""


def parse_address(text: str) -> tuple[str, int]:
    """Split `host:port` (`[::1]:9187` for IPv6, port 0 for any free one); raises ValueError for anything else."""
    host, colon, port = text.rpartition(":")
    host = host.removeprefix("[").removesuffix("]")
    if not colon or not host or not port.isascii() or not port.isdigit() or int(port) > 65535:  # noqa: PLR2004 - TCP's
        raise ValueError("it is not host:port")
    return host, int(port)
