"""START_REPLICATION over psycopg.pq: frames in, standby status out.

psycopg has no replication API; libpq's COPY functions do all the work
(https://www.postgresql.org/docs/current/libpq-copy.html, https://www.postgresql.org/docs/current/protocol-replication.html).
This file moves frames and does not look into them. `receive` and `close` wait; `send` never does.
"""

import asyncio
from collections.abc import Mapping
from contextlib import suppress
from typing import Any, LiteralString, Self

import psycopg
from psycopg import pq

from outboxkit import sql
from outboxkit.postgres import conninfo
from relay.core.errors import SourceRefused, SourceStalled, SourceUnavailable
from relay.core.position import Lsn
from relay.sources.wal.psycopg_internals import execute_raw
from relay.sources.wal.unpublished import left_out
from relay.storage.facts import System
from relay.storage.sessions.deadline import deadline
from relay.storage.sessions.refusals import from_postgres

# The limits of one `receive`, so that neither memory nor the time away from the loop grows with a backlog. A larger
# batch is not cheaper: malloc gives its memory back and takes it again each time.
_BATCH_FRAMES = 256
_BATCH_BYTES = 1 << 20
_PARTING_SECONDS = 1.0
# Sent data that is not acknowledged for 15 s ends the connection, also while data goes on arriving; something is sent
# every 10 s at least. Keepalives are for the time before the stream. If a proxy acknowledges by itself, only
# wal_sender_timeout notices that the direction behind it is dead.
# https://www.postgresql.org/docs/current/libpq-connect.html#LIBPQ-CONNECT-TCP-USER-TIMEOUT
_LIVENESS = {
    "keepalives_idle": "5",
    "keepalives_interval": "5",
    "keepalives_count": "2",
    "tcp_user_timeout": "15000",
}


class ReplicationConnection:
    """A walsender session; make it with `connect`, then `start` the stream once."""

    def __init__(self, connection: psycopg.AsyncConnection[Any], slot: str) -> None:
        self._connection = connection
        self._pgconn = connection.pgconn
        self._slot = slot
        self._loop = asyncio.get_running_loop()
        self._socket = self._pgconn.socket
        self._streaming = False
        self._end: Exception | None = None
        self._waiting: asyncio.Future[None] | None = None
        self._watching = False
        """Whether the loop watches the socket for reading."""
        self._lost: psycopg.Error | None = None
        self._left_out: Exception | None = None
        """Why changes are missing in the stream; what arrives behind them must not be read."""
        connection.add_notice_handler(self._noticed)

    @classmethod
    async def connect(cls, database_url: str, *, slot: str, name: str) -> Self:
        """Connect as `application_name` `name`; raises SourceUnavailable or SourceRefused.

        The URL's own parameters win over ours, `options` too. Only the formats of values are pinned: no setting of a
        server, role or client may change what a value looks like. Errors name `slot`.
        """
        try:
            connection = await psycopg.AsyncConnection.connect(
                conninfo(database_url, **_LIVENESS), autocommit=True, replication="database", application_name=name
            )
            try:
                with deadline(connection):
                    await connection.execute(sql.query("stream_formats"))
            except BaseException:
                await connection.close()
                raise
        except psycopg.Error as error:
            raise from_postgres(error, slot=slot, done="streaming") from error
        return cls(connection, slot)

    @property
    def pid(self) -> int:
        """The server process of this session."""
        return self._pgconn.backend_pid

    async def sender_timeout(self) -> int:
        """Return the session's own wal_sender_timeout in milliseconds; raises SourceUnavailable or SourceRefused."""
        try:
            with deadline(self._connection):
                cursor = await self._connection.execute(sql.query("sender_timeout"))
                row = await cursor.fetchone()
        except psycopg.Error as error:
            raise from_postgres(error, slot=self._slot, done="streaming") from error
        assert row is not None  # noqa: S101 - every version has the setting
        return int(row[0])

    async def identify(self) -> System:
        """Run IDENTIFY_SYSTEM; raises SourceUnavailable or SourceRefused."""
        try:
            with deadline(self._connection):
                cursor = await self._connection.execute("IDENTIFY_SYSTEM")
                row = await cursor.fetchone()
        except psycopg.Error as error:
            raise from_postgres(error, slot=self._slot, done="streaming") from error
        assert row is not None  # noqa: S101 - the command always answers with one row
        return System(str(row[0]), int(row[1]), Lsn.parse(row[2]))

    async def execute(self, *statements: tuple[LiteralString, Mapping[str, object]]) -> None:
        """Run SQL before the stream starts; raises psycopg's errors.

        A walsender takes simple queries only, so the parameters are put in on this side
        (https://www.postgresql.org/docs/current/protocol-replication.html).
        """
        cursor = psycopg.AsyncClientCursor(self._connection)
        for statement, parameters in statements:
            await cursor.execute(statement, parameters)

    async def start(self, start: Lsn, options: Mapping[str, str]) -> None:
        """Begin streaming; the server moves `start` up to the slot's confirmed position if that is later."""
        values = {name: value.replace("'", "''") for name, value in options.items()}
        quoted = ", ".join(f"\"{name}\" '{value}'" for name, value in values.items())
        command = f'START_REPLICATION SLOT "{self._slot}" LOGICAL {start} ({quoted})'
        try:
            with deadline(self._connection):
                result = await execute_raw(self._connection, command.encode())
        except psycopg.Error as error:
            raise from_postgres(error, slot=self._slot, done="streaming") from error
        if result is None or result.status != pq.ExecStatus.COPY_BOTH:
            raise self._ended(result)
        self._streaming = True

    async def receive(self, *, silence: float) -> list[bytes | memoryview]:
        """Return the frames that have arrived, at least one; bytes beyond a batch stay in libpq and the socket.

        Every call lets the loop turn. Raises SourceUnavailable when the stream ends, and SourceStalled when nothing
        arrives for `silence` seconds.
        """
        await asyncio.sleep(0)
        while not (frames := self._arrived()):
            await self._readable(silence)
        return frames

    def send(self, frame: bytes) -> None:
        """Hand `frame` to libpq and send what the socket takes; the rest follows when it is writable.

        The server reads its socket even while it is blocked writing to us, so this cannot deadlock with a reader
        that pauses (src/backend/replication/walsender.c, ProcessRepliesIfAny).
        """
        try:
            self._pgconn.put_copy_data(frame)
        except psycopg.Error as error:
            self._lose(error)
        else:
            self._push()

    async def close(self) -> None:
        """End the stream in order, if the server answers soon, and close. The walsender frees the slot.

        Closing a socket with unread bytes resets the connection: a walsender that is writing then ends without reading
        the last status.
        """
        try:
            if self._streaming and self._end is None and self._lost is None:
                with suppress(TimeoutError, psycopg.Error, SourceUnavailable):
                    async with asyncio.timeout(_PARTING_SECONDS):
                        await self._part()
        finally:  # the process may be told to end meanwhile
            if self._lost is None:
                self._unwatch()
            await self._connection.close()

    async def _part(self) -> None:
        """Send CopyDone and read until the server's CopyDone: by then it has read everything."""
        self._pgconn.put_copy_end()
        self._push()
        while (length := self._pgconn.get_copy_data(1)[0]) >= 0:
            if length == 0:
                await self._readable(_PARTING_SECONDS)
                self._pgconn.consume_input()

    def _arrived(self) -> list[bytes | memoryview]:
        """Return the frames that need no waiting, up to a batch; libpq reads some 16 KiB at a time.

        libpq reports the end of the stream once; it is raised after the frames that came before it.
        """
        frames: list[bytes | memoryview] = []
        size, filled = 0, False
        while self._end is None and len(frames) < _BATCH_FRAMES and size < _BATCH_BYTES:
            length, frame = self._pgconn.get_copy_data(1)
            if self._left_out is not None:  # libpq has met the warning on its way to this frame
                self._end = self._left_out
            elif length > 0:
                frames.append(frame)
                size += length
                filled = False
            elif length < 0:
                self._end = self._ended(self._pgconn.get_result())
            elif filled:
                break
            else:
                try:
                    self._pgconn.consume_input()
                except psycopg.Error as error:
                    self._end = from_postgres(self._lose(error), slot=self._slot, done="streaming")
                filled = True
        if self._end is not None and not frames:
            raise self._end
        return frames

    def _push(self) -> None:
        try:
            left = self._pgconn.flush()
        except psycopg.Error as error:
            self._lose(error)
            return
        if left:
            self._loop.add_writer(self._socket, self._push)
        else:
            self._loop.remove_writer(self._socket)

    def _lose(self, error: psycopg.Error) -> psycopg.Error:
        """Return the first error of a lost connection, and wake `receive`.

        libpq has closed the socket: from the next turn of the loop on, its number may belong to another socket.
        """
        if self._lost is None:
            self._lost = error
            self._unwatch()
            if self._waiting is not None and not self._waiting.done():
                self._waiting.set_result(None)
        return self._lost

    def _unwatch(self) -> None:
        self._loop.remove_reader(self._socket)
        self._loop.remove_writer(self._socket)

    async def _readable(self, silence: float) -> None:
        self._waiting = self._loop.create_future()
        timer = self._loop.call_later(silence, self._silent, silence)
        if not self._watching:
            self._loop.add_reader(self._socket, self._on_readable)
            self._watching = True
        try:
            await self._waiting
        finally:
            timer.cancel()
            self._waiting = None

    def _on_readable(self) -> None:
        if self._waiting is None:  # no `receive` is waiting; the socket would wake the loop for nothing
            self._loop.remove_reader(self._socket)
            self._watching = False
        elif not self._waiting.done():
            self._waiting.set_result(None)

    def _silent(self, seconds: float) -> None:
        if self._waiting is not None and not self._waiting.done():
            self._waiting.set_exception(
                SourceStalled(
                    f"Postgres has been silent for {seconds:.0f} s", remedy="the relay connects again by itself"
                )
            )

    def _ended(self, result: pq.abc.PGresult | None) -> Exception:
        if result is not None and result.status == pq.ExecStatus.FATAL_ERROR:
            error = psycopg.errors.error_from_result(result)
            if self._streaming and isinstance(error, psycopg.errors.UndefinedObject):
                # The slot existed when the stream began, so what does not exist is pgoutput's publication.
                return _unpublished(str(error.diag.message_primary))
            return from_postgres(error, slot=self._slot, done="streaming")
        return SourceUnavailable("Postgres ended the stream", remedy="the relay connects again by itself")

    def _noticed(self, notice: psycopg.errors.Diagnostic) -> None:
        if self._streaming and (error := left_out(notice)) is not None:
            self._left_out = _unpublished(str(error))


def _unpublished(what: str) -> SourceRefused:
    return SourceRefused(
        f"the stream ended: {what}",
        remedy="run `relay setup`, which creates the publication again; changes that are older than the "
        "publication cannot be streamed: `relay slot skip` skips and parks them, to be redriven",
    )
