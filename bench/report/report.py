"""The report: the results of one command, and their JSON."""

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path

from bench.measures.drain import Comparison, Cost
from bench.measures.http import Requests
from bench.measures.latency import Latency
from bench.measures.memory import Memory
from bench.measures.partitions import Partitioned
from bench.measures.shadow import Shadowed
from bench.measures.sources import Source
from bench.measures.tasks.applied import Applied
from bench.measures.tasks.backlog import Rate
from bench.measures.tasks.claiming import Claiming
from bench.measures.tasks.soak import Soak
from bench.report.surroundings import Surroundings


@dataclass
class Report:
    """All results of one command, and the surroundings that they were measured in."""

    surroundings: Surroundings
    drain: list[Comparison] = field(default_factory=list)
    cpu: list[Cost] = field(default_factory=list)
    latency: list[Latency] = field(default_factory=list)
    memory: list[Memory] = field(default_factory=list)
    sources: list[Source] = field(default_factory=list)
    shadow: list[Shadowed] = field(default_factory=list)
    partitions: list[Partitioned] = field(default_factory=list)
    http: list[Requests] = field(default_factory=list)
    tasks: list[Rate] = field(default_factory=list)
    applied: list[Applied] = field(default_factory=list)
    claiming: list[Claiming] = field(default_factory=list)
    soak: list[Soak] = field(default_factory=list)

    def to_json(self) -> str:
        """Return the report as JSON, without the benchmarks that were not run."""
        return json.dumps({name: value for name, value in asdict(self).items() if value})

    def write(self, path: Path) -> None:
        """Write the JSON to `path`."""
        path.write_text(f"{self.to_json()}\n", encoding="utf-8")
