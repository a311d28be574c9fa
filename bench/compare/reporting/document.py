"""The report as a list of blocks. Pure."""

from collections.abc import Iterable, Iterator, Sequence

from bench.compare.findings.against import Against
from bench.compare.findings.measures import Measured
from bench.compare.findings.plates import Plate
from bench.compare.findings.sections import PEERS, POLLING, Section
from bench.compare.reporting import about, tables
from bench.compare.reporting.blocks import Block, Bullets, Heading, Paragraph, Picture


def document(measured: Measured, found: Sequence[Section], compared: Against | None) -> list[Block]:
    """Return the report's blocks."""
    return [
        *about.begin(measured.results),
        *(block for section in found for block in _section(measured, section)),
        *(_against(compared) if compared else ()),
        *tables.figures(measured),
        *about.method(measured.results),
        *tables.often(measured),
    ]


def pictures(blocks: Iterable[Block]) -> list[Plate]:
    """Return the plots in a report."""
    return [block.plate for block in blocks if isinstance(block, Picture)]


def _section(measured: Measured, section: Section) -> Iterator[Block]:
    yield Heading(section.heading)
    if section.heading == POLLING:
        yield from tables.polling(measured)
    if section.heading == PEERS:
        yield from tables.edges(measured)
    plates = iter(section.plates)
    if section.heading == "Correctness":
        yield tables.counts(measured)
    for statement in section.statements:
        if statement.about:
            yield Heading(statement.about, 3)
        if statement.findings:
            yield Bullets(tuple(finding.text for finding in statement.findings))
    yield from map(Picture, plates)


def _against(compared: Against) -> Iterator[Block]:
    yield Heading("Against the earlier comparison")
    if compared.surroundings:
        yield Paragraph("The surroundings were different:")
        yield Bullets(compared.surroundings)
    yield Paragraph(str(compared))
    for heading, changes in (
        ("Better now", [str(each) for each in compared.changes if each.better]),
        ("Worse now", [str(each) for each in compared.changes if not each.better]),
        ("The other way round now", [str(each) for each in compared.agreement.turned]),
        ("Not seen now", [str(each) for each in compared.agreement.unseen]),
    ):
        if changes:
            yield Heading(heading, 3)
            yield Bullets(tuple(changes))
