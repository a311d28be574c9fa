"""The mutants: each a replacement in the sources that loses or repeats events or jobs, and tests that must fail by it.

A text that moves or changes fails test_catalogue.py in seconds: write the replacement for the new text.
"""

from typing import NamedTuple


class Mutant(NamedTuple):
    """One way to break the relay: `old`, which occurs once in `file`, becomes `new`, and one of `tests` must fail."""

    name: str
    file: str
    old: str
    new: str
    tests: tuple[str, ...]


_STREAM = "tests/unit/relay/sources/test_wal_stream.py"
_ENGINE = "tests/unit/relay/core/test_engine.py"
_LETS_GO = "tests/unit/relay/core/lifetime/test_engine_lets_go.py"
_CORE = (
    "tests/unit/relay/core/test_ledger.py",
    "tests/unit/relay/publishing/test_outstanding.py",
    "tests/unit/relay/core/test_core_simulation.py",
)
_PUBLISHER = "tests/integration/relay/publishing/test_publisher.py"
_WAL = "tests/integration/relay/sources/test_wal.py"
_STARTING = "tests/unit/relay/sources/test_starting.py"
_DECIDES = "tests/unit/relay/operating/test_setup_decides.py"
_POSITION = "tests/integration/relay/storage/test_position.py"
_CONFIRMED = "tests/integration/relay/storage/test_confirmed.py"
_PAST = "sql/schema/019_history.sql"
_OF_THE_PAST = "tests/integration/schema/test_history.py"
_RANGES = "tests/unit/relay/operating/replay/ranges/test_rounding.py"
_REPLAY = "tests/integration/relay/operating/replay"
_PUBLISHED = "tests/unit/relay/sources/handover/test_published.py"
_HANDOVER = "tests/integration/relay/sources/handover"
_POLLS = "tests/integration/relay/sources/polling"
_NEW_SLOT = f"{_HANDOVER}/test_new_slot.py"
_TRANSACTIONS = "tests/integration/consumers/handlers/transactions/test_transactions.py"
_HANDLER_SESSIONS = "tests/integration/consumers/handlers/transactions/test_handler_sessions.py"
_CLAIMS = "tests/integration/consumers/claims/test_claims.py"
_COMPARING = "tests/unit/relay/shadow/test_comparing.py"
_SHADOW = "tests/integration/relay/shadow/test_shadow.py"
_LOCKS = "tests/integration/consumers/maintenance/test_locks.py"
_SCHEDULER = "tests/integration/consumers/maintenance/test_scheduler.py"
_REPLICAS = "tests/integration/consumers/maintenance/test_replicas.py"
_OWN_JOBS = "tests/integration/consumers/maintenance/test_own_jobs.py"
_OPERATING = "sql/schema/016_operating.sql"
_PROBES = "tests/integration/schema/test_tasks_probes.py"
_TOPOLOGY = "tests/integration/relay/operating/topology"
_AUDITS = "tests/integration/relay/operating/audit"
_AUDIT = f"{_AUDITS}/test_audit.py"
_PARTITIONS = "tests/integration/relay/operating/partitions"
_PARTITION = "tests/unit/relay/core/hashing/test_partition.py"
_AUDITED = f"{_AUDITS}/test_audit_of_a_relay.py::test_under_load_and_across_hand_overs_nothing_is_missing"

MUTANTS = (
    Mutant(
        "confirm to Postgres before RabbitMQ has confirmed",
        "relay/core/pump.py",
        "                await self._publisher.publish(parcels)\n",
        "                self.settle(parcels)\n                await self._publisher.publish(parcels)\n",
        (_ENGINE,),
    ),
    Mutant(
        "count a message as confirmed when it is sent",
        "relay/publishing/publisher.py",
        "        if items:\n            self._link.write(",
        "        if items:\n            self._outcomes and self._outcomes.confirmed([item.parcel for item in items])\n"
        "            self._link.write(",
        (_PUBLISHER,),
    ),
    Mutant(
        "report the end LSN plus one",
        "relay/sources/wal/stream.py",
        "            self._flushed = position\n",
        "            self._flushed = Lsn(position + 1)\n",
        (_STREAM, _WAL),
    ),
    Mutant(
        "report the LSN of a keepalive",
        "relay/sources/wal/stream.py",
        "        if keepalive.reply_requested:\n",
        "        self._flushed = max(self._flushed, keepalive.end)\n        if keepalive.reply_requested:\n",
        (_STREAM, _WAL),
    ),
    Mutant(
        "a keepalive inside a transaction is a boundary",
        "relay/sources/wal/stream.py",
        "self._decoder.in_transaction or keepalive.end",
        "keepalive.end",
        (_STREAM,),
    ),
    Mutant(
        "take the LSN of COMMIT itself for its end",
        "relay/sources/wal/decoders/wal2json.py",
        "    nextlsn: str\n",
        '    nextlsn: str = msgspec.field(name="lsn")\n',
        ("tests/unit/relay/sources/test_wal2json.py",),
    ),
    Mutant(
        "advance to the highest confirmed boundary",
        "relay/core/ledger.py",
        "        while head.boundary is not None and head.in_flight == 0:\n",
        "        while head.boundary is not None:\n",
        _CORE,
    ),
    Mutant(
        "ignore a return",
        "relay/publishing/pipeline.py",
        "        if self._outstanding.some_returned:\n",
        "        if False:\n",
        (*_CORE, _PUBLISHER),
    ),
    Mutant(
        "take a nack for a confirm",
        "relay/publishing/pipeline.py",
        "        if nack:\n",
        "        if False:\n",
        (*_CORE, _PUBLISHER),
    ),
    Mutant(
        "keep a connection on which everything is nacked",
        "relay/publishing/publisher.py",
        "        return self._confirm_overdue() or self._only_nacks()\n",
        "        return self._confirm_overdue()\n",
        (_PUBLISHER,),
    ),
    Mutant(
        "take a multiple confirm for a single one",
        "relay/publishing/outstanding.py",
        "        if multiple:\n",
        "        if False:\n",
        _CORE,
    ),
    Mutant(
        "take a single confirm for a multiple one",
        "relay/publishing/outstanding.py",
        "        if multiple:\n",
        "        if True:\n",
        _CORE,
    ),
    Mutant(
        "forget the unconfirmed messages when the channel closes",
        "relay/publishing/pipeline.py",
        "        self._back([*self._failed, *self._outstanding.rest()])\n",
        "        self._back(self._failed)\n",
        (*_CORE, _PUBLISHER),
    ),
    Mutant(
        "take the answers of a connection that was given up",
        "relay/publishing/answers.py",
        "        if channel is not self.channel:\n            return\n        self._on_heard()\n",
        "        self._on_heard()\n",
        ("tests/unit/relay/publishing/test_answers.py",),
    ),
    Mutant(
        "send two messages of one id together",
        "relay/publishing/outstanding.py",
        "        if len(new) < len(ids) or not self._ids.isdisjoint(new):\n",
        "        if False:\n",
        ("tests/unit/relay/publishing/test_outstanding.py",),
    ),
    Mutant(
        "publish without mandatory",
        "relay/publishing/encoding.py",
        '_MANDATORY = b"\\x01"',
        '_MANDATORY = b"\\x00"',
        ("tests/unit/relay/publishing/test_encoding.py", _PUBLISHER),
    ),
    Mutant(
        "make a missing slot again without --accept-gap where the outbox cannot be polled",
        "relay/operating/setup/deciding.py",
        "    if accept_gap:\n        return _accepted(",
        "    if accept_gap or gone:\n        return _accepted(",
        (_DECIDES, _WAL),
    ),
    Mutant(
        "trust a checkpoint of another system",
        "relay/sources/wal/ownership.py",
        "    if facts.checkpoint_system != facts.system_identifier:\n",
        "    if False:\n",
        (_STARTING,),
    ),
    Mutant(
        "take the slot of another outbox",
        "relay/sources/wal/ownership.py",
        "set(facts.checkpoint_outboxes) != set(owner.outboxes)",
        "False",
        (_STARTING, _DECIDES),
    ),
    Mutant(
        "report a position before it is stored",
        "relay/sources/wal/stream.py",
        "            await self._writing.positions.save(self.state(position))\n",
        "            self._flushed = position\n            await self._writing.positions.save(self.state(position))\n",
        (_STREAM,),
    ),
    Mutant(
        "go on from a slot that is ahead of the stored position",
        "relay/sources/wal/starting.py",
        "    if confirmed > stored:\n",
        "    if False:\n",
        (_STARTING,),
    ),
    Mutant(
        "store over a row that somebody else wrote",
        "sql/queries/checkpoint_save.sql",
        "WHERE name = %(name)s AND epoch = %(epoch)s\n",
        "WHERE name = %(name)s\n",
        (_POSITION,),
    ),
    Mutant(
        "store on a server that was started again",
        "sql/queries/checkpoint_save.sql",
        "      AND pg_postmaster_start_time() = %(server_started_at)s\n",
        "",
        (_POSITION,),
    ),
    Mutant(
        "trust the memory of a process whose row was written by somebody else",
        "relay/storage/position.py",
        "        return row and (",
        "        return (",
        (_POSITION,),
    ),
    Mutant(
        "store past a change of the partitions",
        "sql/queries/checkpoint_save.sql",
        "IS NOT DISTINCT FROM %(relations)s::text)\n",
        "IS NOT DISTINCT FROM relay.outbox_relations(%(outbox)s::text))\n",
        (_POSITION,),
    ),
    Mutant(
        "move on before a rejected event is parked",
        "relay/core/engine.py",
        "        self._rejections.add(rejections)\n",
        "        self._rejections.add(rejections)\n        self._settle_parked(rejections)\n",
        (_ENGINE,),
    ),
    Mutant(
        "store one parked row for each event id",
        "relay/storage/parking.py",
        "(asdict(event) | told).items()",
        '(asdict(event) | told | {"transaction": 0, "place": 1}).items()',
        ("tests/unit/relay/storage/test_parked_rows.py", "tests/integration/relay/storage/test_parking.py"),
    ),
    Mutant(
        "forget the place of an event in its transaction",
        "relay/core/pump.py",
        "route(item), place)",
        "route(item))",
        (_ENGINE,),
    ),
    Mutant(
        "mark a redriven event that was refused again",
        "relay/core/parking/redrives.py",
        "            self._ended(rejection.parcel)\n",
        "            self._done += [rejection.parcel.event.redrives or 0]\n",
        ("tests/unit/relay/core/parking/test_redrives.py",),
    ),
    Mutant(
        "go on reading after the stop",
        "relay/core/engine.py",
        "                    reading.cancel()  # what comes from here on belongs to the next run\n",
        "",
        (_ENGINE,),
    ),
    Mutant(
        "do not stop when the relay is fenced",
        "relay/core/engine.py",
        "        if self._fencing.fenced():\n            await self._recover(",
        "        if False:\n            await self._recover(",
        (_LETS_GO,),
    ),
    Mutant(
        "pass over a partition that was renamed before anybody looked",
        "relay/sources/wal/decoders/relations.py",
        "(gone and (alike or ",
        "(gone and (False or ",
        ("tests/unit/relay/sources/test_relations.py",),
    ),
    Mutant(
        "take a table of another schema for a renamed partition",
        "relay/sources/wal/decoders/relations.py",
        "            alike = alike and name[0] == self.table[0]\n",
        "",
        ("tests/unit/relay/sources/test_relations.py",),
    ),
    Mutant(
        "forget the end of a stream that came with data",
        "relay/sources/wal/replication.py",
        "                self._end = self._ended(self._pgconn.get_result())\n",
        "                if frames:\n                    break\n"
        "                raise self._ended(self._pgconn.get_result())\n",
        (_WAL,),
    ),
    Mutant(
        "read on where pgoutput has left out a change",
        "relay/sources/wal/unpublished.py",
        "(notice.severity_nonlocalized, notice.sqlstate, notice.source_file) != _LEFT_OUT",
        "notice is not None",
        ("tests/unit/relay/sources/test_unpublished.py",),
    ),
    Mutant(
        "publish after the relay was fenced",
        "relay/core/engine.py",
        "            self._publisher.forget()\n",
        "",
        (_LETS_GO,),
    ),
    Mutant(
        "store the snapshot of a fence before what lies before it is confirmed",
        "relay/sources/wal/fences.py",
        "        while self._unconfirmed and self._unconfirmed[0][0] <= position:\n",
        "        while self._unconfirmed:\n",
        ("tests/unit/relay/sources/test_fences.py", _STREAM),
    ),
    Mutant(
        "end polling without a wait for the transactions before X",
        "relay/sources/handover/handover.py",
        "lambda snapshot: snapshot.xmin > x",
        "lambda snapshot: snapshot.xmin > 0 * x",
        (f"{_NEW_SLOT}::test_polling_goes_on_until_all_that_was_running_when_the_slot_was_made_is_visible",),
    ),
    Mutant(
        "draw X before the slot is made",
        "relay/sources/handover/handover.py",
        "            p = await self._new_slot(stream, parts, facts)\n"
        "            x = await parts.slot.next_transaction()\n",
        "            x = await parts.slot.next_transaction()\n"
        "            p = await self._new_slot(stream, parts, facts)\n",
        (_NEW_SLOT,),
    ),
    Mutant(
        "take a slot that somebody streams from for a new one",
        "relay/storage/slots/new_slot.py",
        "        if found.active_pid is None:\n",
        "        if True:\n",
        ("tests/integration/relay/storage/slots/test_new_slot.py",),
    ),
    Mutant(
        "do not store what was streamed and is not seen yet",
        "relay/storage/state.py",
        '            "streamed": str(self.streamed),\n',
        '            "streamed": "{}",\n',
        ("tests/unit/relay/storage/test_state.py",),
    ),
    Mutant(
        "forget what was streamed and is not seen yet when the stream is opened again",
        "relay/sources/wal/published.py",
        "        self._streamed = Transactions(state.streamed.ranges())\n",
        "        self._streamed = Transactions()\n",
        (_PUBLISHED,),
    ),
    Mutant(
        "pass over what was polled without an end",
        "relay/sources/wal/published.py",
        "            and commits_at < polled.end\n",
        "",
        (_PUBLISHED,),
    ),
    Mutant(
        "pass over what was polled by the end of its commit record",
        "relay/sources/wal/decoders/wal2json.py",
        '    lsn: str = ""\n',
        '    lsn: str = msgspec.field(default="", name="nextlsn")\n',
        (f"{_HANDOVER}/test_fences_and_filter.py",),
    ),
    Mutant(
        "take a fence from before the last poll",
        "relay/sources/wal/published.py",
        "        return self._filter is None or commits_at >= self._filter.end\n",
        "        return True\n",
        (_PUBLISHED,),
    ),
    Mutant(
        "take a fence that somebody else wrote",
        "relay/sources/wal/fences.py",
        "        if written is None:\n            return None\n",
        "        written = now if written is None else written\n",
        ("tests/unit/relay/sources/test_fences.py",),
    ),
    Mutant(
        "adopt the snapshot of a poll before it is flushed",
        "relay/sources/polling/reading.py",
        '        await connection.execute(sql.query("poll_flush"), {"written": written})\n',
        "",
        (f"{_HANDOVER}/test_server_crashes.py",),
    ),
    Mutant(
        "go on from memory after a restart of the server",
        "relay/storage/position.py",
        "        return row and (facts.server_started_at, facts.",
        "        return row and (written.server_started_at, facts.",
        (_POSITION,),
    ),
    Mutant(
        "leave the cursor of a round that was broken off to the next one",
        "relay/sources/polling/reading.py",
        '            await connection.execute(sql.query("rounds_close"))\n',
        "            pass\n",
        (f"{_POLLS}/test_rounds.py::test_a_large_round_that_was_broken_off_is_read_again_over_the_same_session",),
    ),
    Mutant(
        "poll on after a restart of the server over a session that was replaced",
        "relay/sources/polling/reading.py",
        "        if server_started_at != self._server_started_at:\n",
        "        if server_started_at is None:\n",
        (
            f"{_HANDOVER}/test_server_crashes.py::test_a_poll_ends_when_the_server_was_started_again_and_its_session_replaced",
        ),
    ),
    Mutant(
        "go on from memory whoever wrote the row",
        "relay/storage/position.py",
        "        return row and (facts.server_started_at",
        "        return (facts.server_started_at",
        (_POSITION,),
    ),
    Mutant(
        "a claim waits for a row that another transaction has locked",
        "sql/queries/task_claim.sql",
        "FOR NO KEY UPDATE SKIP LOCKED",
        "FOR NO KEY UPDATE",
        (_CLAIMS,),
    ),
    Mutant(
        "deliveries that wait for locked rows take the place of others",
        "consumers/worker.py",
        "waiting=len(waiting), counted=counted)",
        "waiting=0, counted=0)",
        ("tests/unit/consumers/test_worker.py",),
    ),
    Mutant(
        "a forked child ends the work of its parent",
        "outboxkit/process/signals.py",
        "        if os.getpid() != self._process:\n            os._exit(128 + number)\n",
        "",
        ("tests/unit/outboxkit/process/test_signals.py",),
    ),
    Mutant(
        "a locked row counts as one that does not exist",
        "sql/queries/task_end.sql",
        "found.id IS NULL AND EXISTS (SELECT FROM tasks.task WHERE task.id = outcome.id) AS locked",
        "false AS locked",
        (_CLAIMS,),
    ),
    Mutant(
        "let a handler commit its own transaction",
        "sql/queries/handler_begin.sql",
        "SELECT tasks.refuse_commit()",
        "SELECT 1",
        (_TRANSACTIONS,),
    ),
    Mutant(
        "commit the transaction of a handler whichever it is by then",
        "sql/queries/handler_commit.sql",
        "CLOSE consumers_task;\n",
        "CLOSE ALL;\n",
        (_TRANSACTIONS,),
    ),
    Mutant(
        "leave what a handler has set in its session",
        "sql/queries/session_reset.sql",
        "RESET ALL;\n",
        "",
        (_HANDLER_SESSIONS,),
    ),
    Mutant(
        "keep a session that cannot write",
        "consumers/postgres/connecting.py",
        "    if facts.read_only:\n",
        "    if False:\n",
        ("tests/integration/consumers/test_database.py",),
    ),
    Mutant(
        "give the lock of a job to who waited although it is held",
        "sql/schema/013_locks.sql",
        "        WHERE l.locked_until <= clock_timestamp()\n        RETURNING",
        "        WHERE true\n        RETURNING",
        (_LOCKS,),
    ),
    Mutant(
        "release the lock of a job by its name only",
        "sql/schema/013_locks.sql",
        "    WHERE l.name = release_lock.name AND l.epoch = release_lock.epoch\n      AND",
        "    WHERE l.name = release_lock.name\n      AND",
        (_LOCKS,),
    ),
    Mutant(
        "keep the epoch that was drawn before the insert waited",
        "sql/schema/013_locks.sql",
        "        IF made THEN\n",
        "        IF made AND false THEN\n",
        (_LOCKS,),
    ),
    Mutant(
        "remove the lock of a job before its minimum",
        "sql/schema/013_locks.sql",
        "\n      AND l.started_at + greatest(at_least, '0') <= clock_timestamp();",
        ";",
        (_LOCKS,),
    ),
    Mutant(
        "ask the clock of the transaction whether the lock of a job has ended",
        "sql/schema/013_locks.sql",
        "AND l.locked_until > clock_timestamp();\n        EXIT",
        "AND l.locked_until > now();\n        EXIT",
        (_LOCKS,),
    ),
    Mutant(
        "remove dead tasks with those that have ended",
        "sql/schema/013_locks.sql",
        "        WHERE t.status IN ('completed', 'cancelled')",
        "        WHERE t.status IN ('completed', 'cancelled', 'dead')",
        (_OWN_JOBS,),
    ),
    Mutant(
        "make due tasks pending without an event",
        "sql/queries/task_due.sql",
        "count(tasks.announce(id, type, version))",
        "count(id)",
        (_OWN_JOBS,),
    ),
    Mutant(
        "judge the leases of others before its own are extended",
        "consumers/maintenance/jobs/expired_leases.py",
        "        await extend_own()  #",
        "        #",
        (_OWN_JOBS,),
    ),
    Mutant(
        "keep the lock of a job that raises",
        "consumers/maintenance/running/runs.py",
        "                if not self._execution.unfinished(self._job):",
        "                if not self._logged and not self._execution.unfinished(self._job):",
        (_SCHEDULER,),
    ),
    Mutant(
        "release the lock of a job while its thread still runs",
        "consumers/maintenance/running/runs.py",
        "                if not self._execution.unfinished(self._job):",
        "                if True:",
        (_SCHEDULER,),
    ),
    Mutant(
        "release the lock of a job without its minimum",
        "consumers/maintenance/running/runs.py",
        "at_least=self._plan.at_least * frequency",
        "at_least=0",
        (_SCHEDULER,),
    ),
    Mutant(
        "let a job that raises SystemExit end the consumer",
        "consumers/maintenance/running/runs.py",
        "        except BaseException as error:",
        "        except Exception as error:",
        (_SCHEDULER,),
    ),
    Mutant(
        "do not tell that a job outlives its lock",
        "consumers/maintenance/running/runs.py",
        "call_later(lock.ends_at - lock.held_for,",
        "call_later(1000,",
        (_SCHEDULER,),
    ),
    Mutant(
        "log the error of a job each time",
        "consumers/maintenance/running/runs.py",
        "        if kind in self._logged:\n            return\n",
        "",
        (_SCHEDULER,),
    ),
    Mutant(
        "wait for a thread with the lock of the job taken",
        "consumers/maintenance/running/execution.py",
        "async with contextlib.nullcontext() if job.is_async else self._free:",
        "async with contextlib.nullcontext():",
        (_SCHEDULER,),
    ),
    Mutant(
        "leave the lock of a job whose answer was lost",
        "consumers/maintenance/running/locks.py",
        "Lock(acquired or lost_answer,",
        "Lock(acquired,",
        (_SCHEDULER,),
    ),
    Mutant(
        "try a job whose holder died only at its next interval",
        "consumers/maintenance/declaring/schedule.py",
        "        wait = min(wait, held_until - elapsed)\n",
        "        pass\n",
        (_SCHEDULER,),
    ),
    Mutant(
        "run jobs without leading",
        "consumers/maintenance/running/scheduler.py",
        "        if self._leadership is not None and not self._leadership.leading:\n            waits",
        "        if False:\n            waits",
        (_SCHEDULER,),
    ),
    Mutant(
        "cancel running jobs at once when the consumer ends",
        "consumers/maintenance/running/scheduler.py",
        "timeout=self._grace)  # 3",
        "timeout=0)  # 3",
        (_SCHEDULER,),
    ),
    Mutant(
        "read the clock of the node for a cron job",
        "consumers/maintenance/running/locks.py",
        "        return now  # type: ignore[no-any-return]  # clock_timestamp()",
        "        return datetime.now(now.tzinfo)  # type: ignore[no-any-return]",
        (_REPLICAS,),
    ),
    Mutant(
        "announce a task again whose transaction was open when the probe was written",
        _OPERATING,
        "BETWEEN 1 AND 2147483647\n",
        "BETWEEN 0 AND 4294967295\n",
        (_PROBES,),
    ),
    Mutant(
        "let a probe judge what was announced again after it was written",
        _OPERATING,
        "               OR again.at < answered.sent_at\n                  AND again.at + ",
        "               OR again.at + ",
        (_PROBES,),
    ),
    Mutant(
        "announce tasks again before the probe has arrived",
        _OPERATING,
        "FROM tasks.probe WHERE arrived_at <= clock_timestamp() - wait ORDER",
        "FROM tasks.probe WHERE coalesce(arrived_at, sent_at) <= clock_timestamp() - wait ORDER",
        (_PROBES,),
    ),
    Mutant(
        "redrive a dead task without its event",
        _OPERATING,
        "        PERFORM tasks.announce(driven.id, driven.type, driven.version);\n",
        "",
        ("tests/integration/consumers/operating/test_dead.py",),
    ),
    Mutant(
        "remove a dead letter before RabbitMQ has confirmed its copy",
        "outboxkit/amqp/consuming/dead_letters.py",
        "        failed: list[str] = []\n        for letter, confirmed in waiting:\n",
        "        failed: list[str] = []\n        for letter, _ in waiting:\n            self.drop(letter)\n"
        "        for letter, confirmed in waiting:\n",
        ("tests/integration/outboxkit/amqp/consuming/test_dead_letters.py",),
    ),
    Mutant(
        "acknowledge a probe before it is noted",
        "consumers/intake/probes.py",
        "        ids = []\n",
        "        ids = []\n        for probe in probes:\n            ack(probe)\n",
        ("tests/unit/consumers/intake/test_probes.py",),
    ),
    Mutant(
        "pass over an event now and then while the WAL is read",
        "relay/sources/wal/decoders/wal2json.py",
        "                yield self._native_row(change) or ",
        "                yield None if sum(payload) % 7 == 0 else self._native_row(change) or ",
        (_AUDITED,),
    ),
    Mutant(
        "pass over the third event of a transaction while the table is polled",
        "relay/sources/polling/stream.py",
        "(row for row in rows if int(row[-2]) not in published)",
        "(row for row in rows if int(row[-2]) not in published and int(row[-1]) != 3)",
        (_AUDITED,),
    ),
    Mutant(
        "count as confirmed what the position says was published",
        "sql/queries/audit_bucket.sql",
        "@> tx::text::bigint THEN 'missing'",
        "@> tx::text::bigint THEN 'confirmed'",
        (_AUDIT,),
    ),
    Mutant(
        "look only at transactions that began after the first position of a bucket",
        "sql/queries/audit_bucket.sql",
        "aggregate_id FROM outbox.event WHERE tx = ANY (%(running)s::xid8[])\n",
        "aggregate_id FROM outbox.event WHERE tx = ANY (%(running)s::xid8[]) AND false\n",
        (f"{_AUDITS}/test_an_hour.py",),
    ),
    Mutant(
        "call what is not published yet missing",
        "sql/queries/audit_bucket.sql",
        "        ELSE 'pending' END",
        "        ELSE 'missing' END",
        (_AUDIT,),
    ),
    Mutant(
        "judge whether a row is there before every transaction of its time has ended",
        "relay/storage/audit/buckets.py",
        "if edge.next is not None and edge.next <= now.xmin)",
        "if edge.next is not None)",
        (_AUDIT,),
    ),
    Mutant(
        "record what was confirmed although the position was not stored",
        "sql/queries/checkpoint_save.sql",
        ", relay.note_confirmed(%(name)s, %(confirmed_seqs)s::bigint[], %(confirmed_ids)s::uuid[])\n)\n"
        "SELECT (SELECT epoch FROM saved) ",
        "\n), noted AS MATERIALIZED (\n"
        "    SELECT relay.note_confirmed(%(name)s, %(confirmed_seqs)s::bigint[], %(confirmed_ids)s::uuid[])\n)\n"
        "SELECT (SELECT epoch FROM saved) + 0 * (SELECT count(*) FROM noted) ",
        (_CONFIRMED,),
    ),
    Mutant(
        "forget what was confirmed when it could not be stored",
        "relay/storage/position.py",
        "                self._confirmed.give_back(confirms)\n",
        "                pass\n",
        (_CONFIRMED,),
    ),
    Mutant(
        "record what was confirmed behind a position that another relay or another server wrote",
        "relay/storage/position.py",
        "        if not known:",
        "        if False:",
        (_CONFIRMED,),
    ),
    Mutant(
        "mark on the next server what was published of the one before",
        "relay/sources/polling/skip_locked/source.py",
        "            if read != self._read:",
        "            if False:",
        ("tests/integration/relay/sources/polling/test_skip_locked_source.py",),
    ),
    Mutant(
        "take the timeline of the last checkpoint for that of the server",
        "sql/schema/021_timeline.sql",
        "greatest(c.timeline_id, r.min_recovery_end_timeline)",
        "c.timeline_id",
        ("tests/integration/schema/test_timeline.py",),
    ),
    Mutant(
        "take the positions of an earlier version for recorded ones",
        "sql/queries/checkpoint_claim.sql",
        "recorded_since = CASE WHEN recorded_epoch = epoch THEN recorded_since ELSE snapshot END",
        "recorded_since = coalesce(recorded_since, snapshot)",
        (_CONFIRMED,),
    ),
    Mutant(
        "count an event twice in a merged record",
        _PAST,
        "           AND relay.count_of(range_agg(c.seqs)) = sum(relay.count_of(c.seqs))\n",
        "",
        (_OF_THE_PAST,),
    ),
    Mutant(
        "store what is confirmed of a large transaction only at its end",
        "relay/core/engine.py",
        "(pump.position == stored and not self._evidence.much)",
        "pump.position == stored",
        ("tests/unit/relay/core/test_evidence.py",),
    ),
    Mutant(
        "end a range with what is committed when its job is made",
        "relay/operating/replay/ranges/rounding.py",
        "    until = past.now.snapshot if last is None else past.now.snapshot.below(last.next)\n",
        "    until = past.now.snapshot if last is None else last.snapshot\n",
        (_RANGES,),
    ),
    Mutant(
        "begin a range behind its begin",
        "relay/operating/replay/ranges/rounding.py",
        "            return noted.lsn <= lsn\n",
        "            return noted.lsn <= lsn + 3\n",
        (_RANGES,),
    ),
    Mutant(
        "replay a range although a partition of it was dropped",
        "relay/operating/replay/ranges/rounding.py",
        "    if not whole(past, first):\n",
        "    if False:\n",
        (_RANGES, f"{_REPLAY}/test_gone.py"),
    ),
    Mutant(
        "resume a replay beyond what is confirmed",
        "sql/queries/replay_save.sql",
        "coalesce(%(done_seq)s, done_seq)",
        "coalesce(%(done_seq)s + 50, done_seq)",
        (f"{_REPLAY}/test_jobs.py",),
    ),
    Mutant(
        "count the places of a selection instead of a transaction",
        "relay/sources/polling/rows.py",
        "int(tx), int(place)))",
        "int(tx), 1))",
        (f"{_REPLAY}/test_replay.py",),
    ),
    Mutant(
        "read on while nothing that was confirmed can be stored",
        "relay/core/pump.py",
        "            await self._evidence.room()\n",
        "",
        ("tests/unit/relay/core/test_evidence.py",),
    ),
    Mutant(
        "a shadow compares transactions from before both sources were open",
        "relay/shadow/comparing.py",
        "            if row.transaction < self._since:\n                continue\n",
        "",
        (_COMPARING,),
    ),
    Mutant(
        "a shadow takes for missing what the other source has not passed",
        "relay/shadow/comparing.py",
        "        return self.as_of >= event.at\n",
        "        return True\n",
        (_COMPARING,),
    ),
    Mutant(
        "a shadow passes over transactions that were open at its poll before",
        "relay/shadow/polled.py",
        '"running": [*map(str, self._after.running)]',
        '"running": []',
        (f"{_SHADOW}::test_both_give_the_same_whatever_transactions_do",),
    ),
    Mutant(
        "replay from a slot whatever it has",
        "relay/sources/replay/wal.py",
        "            await self._require_whole(slot, start)\n",
        "",
        ("tests/integration/relay/sources/replay/test_wal_range.py",),
    ),
    Mutant(
        "replay what was committed behind the end of the range",
        "relay/sources/replay/within.py",
        "if not self._after <= commits_at < self._until:",
        "if not self._after <= commits_at:",
        ("tests/unit/relay/sources/replay/test_within.py",),
    ),
    Mutant(
        "move a slot for replays that the relay has not made",
        "relay/maintenance/window.py",
        "if state.found and (state.noted is None or not state.here):",
        "if not state.here and state.found:",
        ("tests/unit/relay/maintenance/test_window.py",),
    ),
    Mutant(
        "move the slot for replays beyond the one of the relay",
        "relay/maintenance/window.py",
        "    furthest = end if state.confirmed is None else Lsn.parse(state.confirmed)\n",
        "    furthest = end\n",
        ("tests/unit/relay/maintenance/test_window.py",),
    ),
    Mutant(
        "publish what other relays of the outbox publish",
        "relay/core/pump.py",
        "                    if not mine(item):\n",
        "                    if False and not mine(item):\n",
        (_PARTITION,),
    ),
    Mutant(
        "read on without end behind an event that is not confirmed",
        "relay/core/pump.py",
        "            await self._room()\n",
        "",
        (_PARTITION,),
    ),
    Mutant(
        "count the places of a partition instead of a transaction",
        "relay/core/pump.py",
        "                        ledger.pass_over()\n",
        "                        pass\n",
        (_PARTITION,),
    ),
    Mutant(
        "number partitions otherwise than Postgres does",
        "relay/core/hashing/partition.py",
        "return place_of(aggregate_type, aggregate_id, partitions) + 1",
        "return place_of(aggregate_type, aggregate_id, partitions) or partitions",
        (_PARTITION, "tests/integration/schema/test_partitions.py"),
    ),
    Mutant(
        "put the parts of an aggregate together without a border when its partition is computed",
        "relay/core/hashing/partition.py",
        "{aggregate_type}\\0{aggregate_id}",
        "{aggregate_type}{aggregate_id}",
        (_PARTITION,),
    ),
    Mutant(
        "let each relay of an outbox begin when it is set up",
        "relay/operating/setup/beginning.py",
        "    if partitions and positions.begun(connection, settings):\n"
        "        return positions.take(connection, settings, positions.Beginning(), slot)\n",
        "    if partitions and positions.begun(connection, settings):\n"
        "        taken = positions.take(connection, settings, positions.Beginning(), slot)\n"
        "        connection.execute(\n"
        "            'UPDATE relay.checkpoint SET snapshot = pg_current_snapshot() WHERE name = %s', [settings.name]\n"
        "        )\n"
        "        return taken\n",
        (f"{_PARTITIONS}/test_setup_of_partitions.py",),
    ),
    Mutant(
        "set up any number of partitions beside another",
        "relay/operating/setup/dividing/fitting.py",
        "    if members and members[0].of != owner.partition.of:\n",
        "    if members and owner.partition.whole:\n",
        ("tests/unit/relay/operating/test_setup_divides.py",),
    ),
    Mutant(
        "take the place of a relay that is active",
        "relay/operating/setup/dividing/taking_over.py",
        '        if not scalars.execute(sql.query("partition_lock"), {"name": each}).fetchone():\n',
        "        if False:\n",
        (f"{_PARTITIONS}/test_take_over.py",),
    ),
    Mutant(
        "leave parked events to the relay that took the place of another",
        "relay/operating/setup/dividing/positions.py",
        '        ("partition_parked", of),\n',
        '        ("partition_parked", {**of, "partition": 0}),\n',
        (f"{_PARTITIONS}/test_take_over.py",),
    ),
    Mutant(
        "begin where only some of the relays have published",
        "sql/queries/partition_merge.sql",
        "(range_intersect_agg(streamed + seen) - range_intersect_agg(seen))::text",
        "(range_agg(streamed) - range_intersect_agg(seen))::text",
        (f"{_PARTITIONS}/test_take_over.py",),
    ),
    Mutant(
        "begin behind the furthest of the relays whose place is taken",
        "sql/queries/partition_merge.sql",
        "       range_intersect_agg(seen)::text ",
        "       range_agg(seen)::text ",
        (f"{_PARTITIONS}/test_take_over.py",),
    ),
    Mutant(
        "judge all events of an outbox by the position of one of its relays",
        "sql/queries/audit_bucket.sql",
        "    FROM event JOIN member AS m ON m.partition = event.partition\n",
        "    FROM event JOIN relay.checkpoint AS c ON c.name = %(relay)s\n"
        "    JOIN member AS m ON m.partition = c.partition\n",
        (f"{_PARTITIONS}/test_audit_of_partitions.py",),
    ),
    Mutant(
        "accept a gap in another partition than the one that is set",
        "relay/operating/setup/deciding.py",
        "        if isinstance(problem, OtherPartition | OtherDatabase):\n",
        "        if isinstance(problem, OtherDatabase):\n",
        ("tests/unit/relay/operating/test_setup_decides.py",),
    ),
    Mutant(
        "accept a gap in the position of another database",
        "relay/operating/setup/deciding.py",
        "        if isinstance(problem, OtherPartition | OtherDatabase):\n",
        "        if isinstance(problem, OtherPartition):\n",
        ("tests/unit/relay/operating/test_setup_decides.py",),
    ),
    Mutant(
        "let relays of an outbox hash different columns",
        "relay/sources/wal/ownership.py",
        "    elif (by := facts.checkpoint_partitioned_by) is not None and [*by] != [*owner.partitioned_by]:\n",
        "    elif (by := facts.checkpoint_partitioned_by) is not None and [*by] == [*owner.partitioned_by]:\n",
        ("tests/unit/relay/sources/test_starting.py",),
    ),
    Mutant(
        "count epochs anew when the place of a relay is taken",
        "relay/operating/setup/dividing/taking_over.py",
        "            epoch=self.epoch + 1,\n",
        "",
        (f"{_PARTITIONS}/test_take_over.py",),
    ),
    Mutant(
        "park the skipped events of other relays",
        "relay/operating/slot/reading.py",
        "            elif mine(event):\n",
        "            else:\n",
        (f"{_PARTITIONS}/test_slot_skip_of_a_partition.py",),
    ),
    Mutant(
        "let events for one number of queues come into a topology of another",
        "relay/core/hashing/spread.py",
        'return f"hash{self.queues}"',
        'return "hash"',
        ("tests/unit/relay/core/hashing/test_spread.py",),
    ),
    Mutant(
        "spread the events of an aggregate over the queues of a topology",
        "relay/core/messages/routing.py",
        "self._spread.queue_of(kind, aggregate_id)",
        "self._spread.queue_of(kind, event.id)",
        ("tests/unit/relay/core/hashing/test_spread.py",),
    ),
    Mutant(
        "let every queue of a topology have every event",
        "relay/operating/topology/topology.py",
        '{"x-match": "all", self.spread.header: number}',
        '{"x-match": "all"}',
        ("tests/unit/relay/operating/topology/test_topology.py", f"{_TOPOLOGY}/test_declared.py"),
    ),
    Mutant(
        "publish replays without the number of the queue",
        "relay/core/messages/replayed.py",
        "headers = {**message.headers, ",
        "headers = {**event.headers, ",
        ("tests/unit/relay/core/hashing/test_spread.py",),
    ),
    Mutant(
        "pass over a relay whose events come into no queue of the topology",
        "relay/operating/topology/topology.py",
        "return spread is not None and spread.header == self.spread.header",
        "return True",
        ("tests/unit/relay/operating/topology/test_topology.py",),
    ),
    Mutant(
        "bind a queue that others have bound",
        "consumers/events/composition.py",
        "declare = _declare if settings.events_bind else _declare_bound",
        "declare = _declare",
        ("tests/integration/consumers/events/test_topology_queue.py",),
    ),
)
