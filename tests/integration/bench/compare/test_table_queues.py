"""The triggers that give table queues their jobs; their own functions are stand-ins, which keep what they are given."""

import pytest

from bench.compare import arms
from bench.compare.peers import graphile_worker, procrastinate
from bench.compare.peers.peer import Peer
from bench.compare.planning.plan import Asked
from bench.compare.planning.plan import made as planned
from bench.compare.run.scene import scene
from sandbox import Sandbox

PROCRASTINATE = """
CREATE TYPE public.procrastinate_job_to_defer_v1 AS (
    queue_name character varying, task_name character varying, priority integer, lock text, queueing_lock text,
    args jsonb, scheduled_at timestamp with time zone);
CREATE TABLE public.job (id bigserial, args jsonb);
CREATE FUNCTION public.procrastinate_defer_jobs_v1(jobs public.procrastinate_job_to_defer_v1[]) RETURNS bigint[]
LANGUAGE sql AS
'INSERT INTO public.job (args) SELECT args FROM unnest(jobs) WHERE task_name = ''event'' RETURNING ARRAY[id]';
"""
GRAPHILE_WORKER = """
CREATE SCHEMA graphile_worker;
CREATE TYPE graphile_worker.job_spec AS (
    identifier text, payload json, queue_name text, run_at timestamptz, max_attempts integer, job_key text,
    priority integer, flags text[]);
CREATE TABLE public.job (id bigserial, args jsonb);
CREATE FUNCTION graphile_worker.add_jobs(specs graphile_worker.job_spec[]) RETURNS SETOF public.job LANGUAGE sql AS
'INSERT INTO public.job (args) SELECT payload FROM unnest(specs) WHERE identifier = ''event'' RETURNING *';
"""


@pytest.mark.parametrize(
    ("peer", "functions"),
    [(procrastinate.PEER, PROCRASTINATE), (graphile_worker.PEER, GRAPHILE_WORKER)],
    ids=lambda value: value.name if isinstance(value, Peer) else "",
)
def test_each_event_gets_a_job_in_the_order_of_the_statement(sandbox: Sandbox, peer: Peer, functions: str) -> None:
    assert peer.script is not None
    quick = planned(Asked(quick=True, seed=1), drawn=0, started_at="")
    with scene(sandbox, quick, arms.named("no relay")) as made:
        made.place.script(peer.script)  # before the peer's own schema is there
        with made.place.connect() as connection:
            connection.execute(functions.encode())
            connection.execute("CALL bench.write_transaction(7, 3, 200, 1, 2)")
            connection.execute("CALL bench.write(1, 1)")  # a backlog's event has no number
            events = connection.execute(
                "SELECT id::text, aggregate_id, aggregate_version, headers -> 'number' FROM outbox.event ORDER BY seq"
            ).fetchall()
            jobs = connection.execute(
                "SELECT args ->> 'event_id', args ->> 'aggregate_id', (args ->> 'version')::bigint,"
                " nullif(args -> 'number', 'null') FROM public.job ORDER BY id"
            ).fetchall()
    assert len(events) == 4
    assert [event[3] for event in events] == [7, 7, 7, None]
    assert jobs == events
