"""What the relay uses of psycopg beyond its documentation is still there, and takes what the relay gives it."""

import inspect

import psycopg
from psycopg import generators, pq


def test_a_connection_waits_for_a_generator() -> None:
    (_, gen, *others) = inspect.signature(psycopg.AsyncConnection.wait).parameters.values()

    assert gen.name == "gen"
    assert all(other.default is not other.empty for other in others)
    assert inspect.iscoroutinefunction(psycopg.AsyncConnection.wait)


def test_the_generators_that_send_a_query_and_fetch_a_result_take_a_libpq_connection_alone() -> None:
    for generator in (generators.send, generators.fetch):
        assert callable(generator)
    assert list(inspect.signature(generators._send).parameters) == ["pgconn"]  # noqa: SLF001 - `send` may be compiled
    assert list(inspect.signature(generators._fetch).parameters) == ["pgconn"]  # noqa: SLF001 - the same


def test_libpq_s_copy_functions_have_their_names() -> None:
    for name in (
        "send_query",
        "get_copy_data",
        "put_copy_data",
        "put_copy_end",
        "get_result",
        "consume_input",
        "flush",
    ):
        assert callable(getattr(pq.PGconn, name)), name
    assert pq.ExecStatus.COPY_BOTH
