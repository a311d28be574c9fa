"""A private Postgres and RabbitMQ for the demo, the tests and the benchmarks.

One interface over three back ends: the machine's own packages, containers, or servers that the user names. It
administers servers and knows nothing of the relay, the consumers or the schema: whoever wants a schema passes in
the function that applies it.
"""

from sandbox.lifetime.isolation import Isolated
from sandbox.lifetime.starting import Sandbox, start
from sandbox.servers.backend import Servers
from sandbox.settings import SandboxSettings

__all__ = ["Isolated", "Sandbox", "SandboxSettings", "Servers", "start"]
