"""A replication connection, or why there is none: libpq gives no SQLSTATE for a connection that was refused."""

from relay.core.errors import RepairNeeded, SourceUnavailable
from relay.sources.wal.replication import ReplicationConnection
from relay.storage.facts import Facts
from relay.storage.server import Server
from relay.storage.sessions.refusals import NOT_THROUGH_A_POOLER


async def connected(  # noqa: PLR0913 - two of a connection, two of the server, and what to do without the right
    database_url: str, server: Server, facts: Facts, *, slot: str, name: str, without_right: str | None = None
) -> ReplicationConnection:
    """Connect as `name`; if that is refused, raise RepairNeeded for what `server` and its `facts` show as the reason.

    `without_right` is the remedy for a role that lacks REPLICATION, and is not to be given it. Raises SourceUnavailable
    for a server that is away.
    """
    try:
        return await ReplicationConnection.connect(database_url, slot=slot, name=name)
    except SourceUnavailable as problem:
        if await server.pooled():
            raise RepairNeeded(
                f"a connection pooler lets no replication through to Postgres ({problem.__cause__})",
                remedy=NOT_THROUGH_A_POOLER,
            ) from problem
        # The attribute alone proves nothing either: some hosted servers let roles stream that lack it.
        if facts.may_replicate:
            raise
        raise RepairNeeded(
            f"role {facts.role!r} lacks REPLICATION ({problem.__cause__})",
            remedy=without_right or f'ALTER ROLE "{facts.role}" REPLICATION',
        ) from problem
