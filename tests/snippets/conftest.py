"""The fixture of all snippets."""

from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from sandbox import Isolated
from tests.snippets.shop import Shop


@pytest.fixture
def shop(isolated: Isolated, tmp_path: Path) -> Iterator[Shop]:
    with psycopg.connect(isolated.database_url, autocommit=True) as connection:
        connection.execute(
            "CREATE TABLE orders (id bigint PRIMARY KEY, status text NOT NULL, version bigint NOT NULL);"
            " INSERT INTO orders VALUES (42, 'new', 7)"
        )
        yield Shop(isolated.database_url, connection, tmp_path)
