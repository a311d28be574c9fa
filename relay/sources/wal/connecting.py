"""A replication connection, or why there is none: libpq gives no SQLSTATE for a connection that was refused."""

from relay.core.errors import SourceRefused, SourceUnavailable
from relay.sources.wal.replication import ReplicationConnection
from relay.storage.facts import Facts
from relay.storage.refusals import NOT_THROUGH_A_POOLER
from relay.storage.server import Server


async def connected(  # noqa: PLR0913 - what a connection is
    database_url: str, server: Server, facts: Facts, *, slot: str, name: str, proven: bool
) -> ReplicationConnection:
    """Connect as `name`, and raise for what `server` and its `facts` show to be the reason if that is refused.

    With `proven`, it has worked before: a pooler's refusal is SourceUnavailable then, and SourceRefused otherwise.
    """
    try:
        return await ReplicationConnection.connect(database_url, slot=slot, name=name)
    except SourceUnavailable as problem:
        if await server.pooled():
            kind = SourceUnavailable if proven else SourceRefused
            raise kind(
                f"a connection pooler lets no replication through to Postgres ({problem.__cause__})",
                remedy=NOT_THROUGH_A_POOLER,
            ) from problem
        # The attribute alone proves nothing either: some hosted servers let roles stream that lack it.
        if facts.may_replicate:
            raise
        raise SourceRefused(
            f"role {facts.role!r} lacks REPLICATION ({problem.__cause__})",
            remedy=f'ALTER ROLE "{facts.role}" REPLICATION',
        ) from problem
