"""`make secrets`: a password of its own for each part, readable where compose mounts it and nowhere else."""

import base64
import hashlib
import json
import re
import subprocess
from pathlib import Path
from urllib.parse import unquote, urlsplit

from consumers.second_lock import address
from outboxkit.amqp.url import nodes
from tests.support.commands import ROOT
from tests.unit.docs.markdown import quoted, rows, section

OPERATIONS = (ROOT / "docs" / "operations.md").read_text(encoding="utf-8")


def _read(path: Path) -> str:
    return path.read_text(encoding="ascii").strip()


def test_only_the_owner_enters_the_folder_and_every_container_can_read_its_files(secrets: Path) -> None:
    assert secrets.stat().st_mode & 0o777 == 0o700
    assert {path.stat().st_mode & 0o777 for path in secrets.iterdir()} == {0o444}


def test_every_password_is_another_one_and_has_160_bits(secrets: Path) -> None:
    passwords = [_read(path) for path in secrets.glob("*_password")]
    passwords += [urlsplit(_read(path)).password or "" for path in secrets.glob("*_amqp_url")]
    assert len(set(passwords)) == len(passwords)
    assert all(re.fullmatch(r"[0-9a-f]{40}", password) for password in passwords)


def test_the_urls_have_the_passwords_that_postgres_gets(secrets: Path) -> None:
    roles = {
        "setup": "owner",
        "relay": "relay",
        "consumer": "consumer",
        "writer": "application",
        "service": "service",
        "operator": "operator",
    }
    for part, role in roles.items():
        url = urlsplit(_read(secrets / f"{part}_database_url"))
        assert url.password == _read(secrets / f"{role}_password")
        assert (url.hostname, url.path) == ("postgres", "/outbox")


def test_rabbitmq_gets_hashes_that_fit_the_urls_and_no_password(secrets: Path) -> None:
    text = _read(secrets / "rabbitmq_definitions.json")
    users = {user["name"]: user for user in json.loads(text)["users"]}
    assert set(users) == {"setup", "relay", "consumer", "operator", "topology", "events", "admin"}
    for name, user in users.items():
        url = _read(secrets / f"{name}_amqp_url")
        (node,) = nodes(url)
        assert node.virtual_host == "/"
        password = urlsplit(url).password or ""
        assert (urlsplit(url).username, unquote(urlsplit(url).path)) == (name, "//")
        assert password not in text
        stored = base64.b64decode(user["password_hash"])
        assert stored[4:] == hashlib.sha256(stored[:4] + password.encode()).digest()


def test_rabbitmqs_users_may_do_what_operations_says_and_no_more(secrets: Path) -> None:
    permissions = {
        each["user"]: each for each in json.loads(_read(secrets / "rabbitmq_definitions.json"))["permissions"]
    }
    listed = [cells for cells in rows(section(OPERATIONS, "## Roles and permissions")) if len(cells) == 4]
    documented = {user: [quoted(cell)[0].replace("\\|", "|") for cell in cells] for user, *cells in listed}
    for name, user in {
        "setup": "for `relay setup`",
        "relay": "the relay",
        "consumer": "consumers",
        "operator": "for `consumers dlq`",
        "topology": "for `relay setup --topology`",
        "events": "consumers of its queues",
    }.items():
        assert [permissions[name][kind] for kind in ("configure", "write", "read")] == documented[user]


def test_redis_and_consumers_have_the_same_password_and_the_settings_take_its_url(secrets: Path) -> None:
    url = address.read(_read(secrets / "redis_url"))
    assert (url.host, url.port) == ("redis", 6379)
    assert f"requirepass {url.password}" in _read(secrets / "redis.conf").splitlines()


def test_every_role_with_a_password_gets_it_at_the_first_start(secrets: Path) -> None:
    initial = (ROOT / "docker" / "postgres" / "initial.sql").read_text(encoding="utf-8")
    read = set(re.findall(r"`cat /run/secrets/(\w+)`", initial))
    assert read == {path.name for path in secrets.glob("*_password")} - {"postgres_password", "grafana_password"}


def test_what_is_there_stays_as_it_is(secrets: Path) -> None:
    before = {path.name: _read(path) for path in secrets.iterdir()}
    done = subprocess.run([secrets.parent / "docker" / "secrets"], check=True, capture_output=True, text=True)
    assert "stays as it is" in done.stdout
    assert {path.name: _read(path) for path in secrets.iterdir()} == before


def test_git_and_the_image_builds_leave_them_out() -> None:
    ignored = (ROOT / ".gitignore").read_text(encoding="ascii").splitlines()
    assert {"/secrets/", "/secrets.incomplete/", ".env"} <= set(ignored)
    sent = (ROOT / ".dockerignore").read_text(encoding="ascii").splitlines()
    assert next(line for line in sent if not line.startswith("#")) == "*"
    assert not [line for line in sent if line.startswith("!") and "secret" in line]
    assert "**/.env" in sent
