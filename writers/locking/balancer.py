"""nginx as a balancer before the instances: one request to each in turn."""

import contextlib
import socket
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

from writers.locking.processes import Program, found

# With more than one worker process, each would have a turn of its own. A dead instance gets its turn all the same: it
# refuses the connection, and the next one is asked. A request that an instance has received is never repeated.
# https://nginx.org/en/docs/http/ngx_http_proxy_module.html#proxy_next_upstream
_CONFIGURATION = """\
daemon off;
worker_processes 1;
worker_rlimit_nofile 4096;
pid {place}/pid;
error_log stderr notice;
events {{
    worker_connections 2048;
}}
http {{
    access_log off;
    client_body_temp_path {place}/body;
    proxy_temp_path {place}/proxy;
    fastcgi_temp_path {place}/fastcgi;
    uwsgi_temp_path {place}/uwsgi;
    scgi_temp_path {place}/scgi;
    upstream writers {{
        {servers}
    }}
    server {{
        listen 127.0.0.1:{port} reuseport backlog=1024;
        location / {{
            proxy_pass http://writers;
            proxy_http_version 1.1;
            proxy_set_header Host $http_host;
            proxy_set_header Connection "";
            proxy_read_timeout 10h;
        }}
    }}
}}
"""
_LISTENS = "start worker processes"
"""What nginx logs when its sockets are open."""


@contextlib.contextmanager
def started(addresses: Sequence[str]) -> Iterator[str]:
    """Run nginx before `addresses` for the block, and yield its URL. Raises Problem if it is not installed."""
    otherwise = ", or name a running set with --url"
    program = found("nginx", package="nginx", otherwise=otherwise)
    with _reserved() as port, tempfile.TemporaryDirectory(prefix="locking-demo-") as directory:
        place = Path(directory)
        place.chmod(0o711)  # as root, nginx's worker is another user, who passes through it
        servers = "\n        ".join(f"server {address} max_fails=0;" for address in addresses)
        configuration = place / "nginx.conf"
        configuration.write_text(_CONFIGURATION.format(place=place, servers=servers, port=port), encoding="utf-8")
        words = [program, "-p", str(place), "-c", str(configuration)]
        nginx = Program("nginx", words, lambda line: _LISTENS in line or None)
        try:
            nginx.ready()
            yield f"http://127.0.0.1:{port}"
        finally:
            nginx.end()


@contextlib.contextmanager
def _reserved() -> Iterator[int]:
    """Yield a port that nobody else gets: it is bound here, and with SO_REUSEPORT nginx can bind it too (socket(7))."""
    with socket.socket() as holder:
        holder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        holder.bind(("127.0.0.1", 0))
        yield int(holder.getsockname()[1])
