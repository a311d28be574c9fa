"""A private Postgres and RabbitMQ for the demo, the tests and the benchmarks.

Three back ends with one interface: this machine's packages, containers, or servers that the user names. The sandbox
runs servers and knows nothing of the relay, the consumers or the schema. A caller that wants a schema passes in the
function that applies it.

demo        `sandbox demo`
lifetime    a sandbox for a block, or from `sandbox up` to `sandbox down`; isolated parts of one
servers     the three back ends
machine     directories, users, programs, processes, ports, signals
"""

from sandbox.lifetime.isolation import Isolated
from sandbox.lifetime.starting import Sandbox, start
from sandbox.servers.backend import Servers
from sandbox.settings import SandboxSettings

__all__ = ["Isolated", "Sandbox", "SandboxSettings", "Servers", "start"]
