"""A private Postgres and RabbitMQ for the demo, the tests and the benchmarks.

One interface over three back ends: the machine's own packages, containers, or servers that the user names. It
administers servers and knows nothing of the relay, the consumers or the schema: whoever wants a schema passes in
the function that applies it.
"""

from sandbox.isolation import Isolated
from sandbox.servers import Servers
from sandbox.settings import SandboxSettings
from sandbox.starting import Sandbox, start

__all__ = ["Isolated", "Sandbox", "SandboxSettings", "Servers", "start"]
