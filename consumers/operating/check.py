"""The command `consumers check`: every precondition with its remedy. It changes nothing and takes no message."""

from consumers.operating.checks import asking, broker, module, rights, second_lock, server, sessions, work
from consumers.operating.display import console
from consumers.operating.options import Config, Json
from consumers.postgres.refusals import SET_UP
from consumers.settings import ConsumerSettings
from outboxkit.checks.finding import Check, Finding, Verdict, fail, judged, named, ok, reached
from outboxkit.checks.report import report
from outboxkit.settings import load


def check(config: Config = None, *, as_json: Json = False) -> None:
    """Check every precondition, each with its remedy. Exit code 3 if one FAILs. It changes nothing.

    FAIL: the consumers would not run. WARN: they run, with a risk. UNKNOWN: not determined.
    """
    report(findings(load(ConsumerSettings, config)), console(), as_json=as_json)


def findings(settings: ConsumerSettings) -> list[Finding]:
    """Return a finding for each check, always with the same ids in the same order."""
    found = module.load(settings)
    kinds = module.kinds(found, settings)
    postgres, rabbitmq = asking.ask(settings, kinds), broker.asked(settings, kinds)
    return [
        reached("postgres.connection", postgres.server, "Postgres answers"),
        *judged((*server.CHECKS, *sessions.CHECKS), postgres.server),
        *judged((Check("postgres.schema", _schema),), postgres.schema),
        *judged(rights.CHECKS, postgres.rights),
        reached("broker.connection", rabbitmq, "RabbitMQ answers"),
        *judged(broker.CHECKS, rabbitmq),
        named("second_lock.server", second_lock.checked(settings, kinds)),
        named("tasks.handlers", work.handlers(found)),
        named("tasks.unhandled", work.unhandled(postgres.waiting, found)),
        named("tasks.scheduler", work.scheduler(postgres.jobs, settings, found)),
        named("events.handlers", work.events(found, settings)),
    ]


def _schema(found: asking.Schema) -> Verdict:
    if found.lacking:
        lacking = list(found.lacking)
        return fail(f"the schema lacks {', '.join(lacking)}", remedy=SET_UP, lacking=lacking)
    return ok("the schema has the version of this program", lacking=[])
