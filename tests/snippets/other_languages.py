"""The programs of docs/writers.md in Java, Go and Node, and the forms that each client's users have.

`make snippets` runs this file; `make test` does not, because a JDK and two more toolchains with their packages are not
what a developer of the relay has. A missing one fails.
"""

import shutil
from pathlib import Path

import pytest

from tests.snippets.page import programs
from tests.snippets.shop import Shop, ran
from tests.support.commands import ROOT

HERE = ROOT / "tests" / "snippets"
JDBC = "42.7.14"
TOTAL = {"total": 120}
TRACE = {"traceparent": "00-ab"}
AN_ID = "00000000-0000-0000-0000-00000000002a"
# What the calls without a cast write, in Go and Node.
PLAIN = [("a", TOTAL, {}), ("42", TOTAL, TRACE), (AN_ID, TOTAL, TRACE)]


def program(language: str, client: str) -> str:
    (found,) = (each.text for each in programs(language) if each.client == client)
    return found


def need(command: str, package: str) -> str:
    path = shutil.which(command)
    assert path, f"{command} is not installed; on Debian: apt-get install {package}"
    return path


def copied(shop: Shop, folder: str) -> Path:
    shutil.copytree(HERE / folder, shop.directory, dirs_exist_ok=True)
    return shop.directory


@pytest.fixture(scope="session")
def jar(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the driver's file."""
    directory = tmp_path_factory.mktemp("jdbc")
    artifact = f"-Dartifact=org.postgresql:postgresql:{JDBC}"
    ran(directory, need("mvn", "maven"), "--batch-mode", "dependency:copy", artifact, f"-DoutputDirectory={directory}")
    return directory / f"postgresql-{JDBC}.jar"


def test_java_with_jdbc(shop: Shop, jar: Path) -> None:
    shop.write({"Pay.java": program("Java", "JDBC")})
    shop.run(need("java", "default-jdk-headless"), "-cp", jar, "Pay.java")
    shop.assert_paid()


@pytest.mark.parametrize(
    "options", ["", "&stringtype=unspecified", "&preferQueryMode=simple", "&prepareThreshold=-1&binaryTransfer=true"]
)
def test_java_with_jdbc_in_each_form(options: str, shop: Shop, jar: Path) -> None:
    copied(shop, "java")
    shop.run(need("java", "default-jdk-headless"), "-cp", jar, "Forms.java", JDBC_OPTIONS=options)
    assert shop.forms() == [
        ("a", TOTAL, TRACE),
        ("a", TOTAL, {}),
        ("42", TOTAL, {}),
        ("42", TOTAL, {}),
        (AN_ID, TOTAL, TRACE),
        ("a", TOTAL, {}),
    ]


@pytest.mark.parametrize("client", ["pgx", "lib/pq"])
def test_go(client: str, shop: Shop) -> None:
    copied(shop, "go").joinpath("forms.go").unlink()
    shop.write({"pay.go": program("Go", client)})
    shop.run(need("go", "golang-go"), "run", "pay.go")
    shop.assert_paid()


@pytest.mark.parametrize(
    ("client", "expected"), [("pgx", PLAIN * 6), ("pq", [*PLAIN, ("42", TOTAL, {})] * 2)], ids=["pgx", "pq"]
)
def test_go_in_each_form(client: str, expected: list[object], shop: Shop) -> None:
    copied(shop, "go")
    shop.run(need("go", "golang-go"), "run", "forms.go", client)
    assert shop.forms() == expected


@pytest.fixture
def node(shop: Shop) -> str:
    """Install the client beside the program, and return Node's path."""
    copied(shop, "node")
    shop.run(need("npm", "npm"), "ci", "--ignore-scripts", "--no-audit", "--no-fund")
    return need("node", "nodejs")


def test_node_with_pg(node: str, shop: Shop) -> None:
    shop.write({"pay.mjs": program("Node", "pg")})
    shop.run(node, "pay.mjs")
    shop.assert_paid()


def test_node_with_pg_in_each_form(node: str, shop: Shop) -> None:
    shop.run(node, "forms.mjs")
    assert shop.forms() == [*PLAIN, ("42", TOTAL, {})]
