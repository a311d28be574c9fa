"""TLS on both sides: servers that require it, certificates made here, and every mismatch of them."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import parse_qsl, urlencode, urlsplit

import pytest
import trustme

from sandbox import Isolated
from sandbox.lifetime import private
from sandbox.machine import ports
from sandbox.machine.waiting import until
from sandbox.servers.backend import Extra
from sandbox.servers.rabbitmq import Rabbitmq
from tests.support.refusing import SECRET, mistake, refusal
from tests.support.stage import SESSIONS, Stage

NAMED = "localhost"  # the host name in the servers' certificates
UNNAMED = "127.0.0.1"
POSTGRES = """\
ssl = on
ssl_cert_file = 'server.pem'
ssl_key_file = 'server.key'
ssl_ca_file = 'ca.pem'
"""
# https://www.postgresql.org/docs/current/ssl-tcp.html#SSL-CLIENT-CERTIFICATES
ACCESS = "hostssl all,replication all 127.0.0.1/32 scram-sha-256 clientcert=verify-ca\n"
RABBITMQ = """\
listeners.ssl.1 = 127.0.0.1:{port}
ssl_options.certfile = server.pem
ssl_options.keyfile = server.key
ssl_options.cacertfile = ca.pem
ssl_options.verify = verify_peer
ssl_options.fail_if_no_peer_cert = true
"""
ENCRYPTED = """
SELECT application_name, ssl, client_dn IS NOT NULL FROM pg_stat_ssl JOIN pg_stat_activity USING (pid)
WHERE backend_type IN ('client backend', 'walsender') AND pid <> pg_backend_pid() ORDER BY application_name
"""


@dataclass(frozen=True)
class Site:
    """Both servers, and the directory with a client's certificates."""

    stage: Stage
    rabbitmq: Rabbitmq
    tls_port: int
    papers: Path

    def postgres(self, *, host: str = NAMED, **options: str | None) -> dict[str, str]:
        """Return the relay's correct setting for Postgres, changed by `options`; one that is None is left out."""
        place = urlsplit(self.stage.isolated.database_url)
        query = {**dict(parse_qsl(place.query)), **options}
        changed = place._replace(
            netloc=_moved(place.netloc, host, place.port),
            query=urlencode({name: value for name, value in query.items() if value is not None}),
        )
        return {"RELAY_DATABASE_URL": changed.geturl()}

    def amqp(
        self, command: str, *, host: str = NAMED, ca: str | None = "ca.pem", client: str | None = "client"
    ) -> dict[str, str]:
        """Return a command's correct settings for RabbitMQ with the given changes; a file that is None is left out."""
        start = f"{command.upper()}_AMQP"
        place = urlsplit(self.rabbitmq.url)
        url = place._replace(scheme="amqps", netloc=_moved(place.netloc, host, self.tls_port))
        settings = {f"{start}_URL": url.geturl()}
        if ca is not None:
            settings[f"{start}_CA_FILE"] = f"{self.papers}/{ca}"
        if client is not None:
            settings[f"{start}_CERTIFICATE_FILE"] = f"{self.papers}/{client}.pem"
            settings[f"{start}_KEY_FILE"] = f"{self.papers}/{client}.key"
        return settings


def _moved(netloc: str, host: str, port: int | None) -> str:
    return f"{netloc.rpartition('@')[0]}@{host}:{port}"


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """Start servers that require a client certificate of the same CA."""
    ca, stranger = trustme.CA(), trustme.CA()
    papers = tmp_path_factory.mktemp("papers")
    server = ca.issue_cert(NAMED)
    ca.cert_pem.write_to_path(papers / "ca.pem")
    stranger.cert_pem.write_to_path(papers / "stranger-ca.pem")
    for name, authority in (("client", ca), ("stranger", stranger)):
        certificate = authority.issue_cert("relay@example.org", common_name="the relay")
        certificate.cert_chain_pems[0].write_to_path(papers / f"{name}.pem")
        certificate.private_key_pem.write_to_path(papers / f"{name}.key")
        (papers / f"{name}.key").chmod(0o600)  # libpq refuses one that others can read
    files = {
        "ca.pem": ca.cert_pem.bytes().decode(),
        "server.pem": server.cert_chain_pems[0].bytes().decode(),
        "server.key": server.private_key_pem.bytes().decode(),
    }
    (tls_port,) = ports.free(1)
    with (
        private.postgres(Extra(POSTGRES, {**files, "pg_hba.conf": ACCESS})) as postgres,
        private.rabbitmq(Extra(RABBITMQ.format(port=tls_port), files)) as rabbitmq,
    ):
        place = urlsplit(postgres.url)
        options = {
            "sslmode": "verify-full",
            "sslrootcert": str(papers / "ca.pem"),
            "sslcert": str(papers / "client.pem"),
            "sslkey": str(papers / "client.key"),
        }
        url = place._replace(netloc=_moved(place.netloc, NAMED, place.port), query=urlencode(options)).geturl()
        # The test itself uses RabbitMQ's listener without TLS.
        stage = Stage(Isolated(url, rabbitmq.url, "tls"), tmp_path_factory.mktemp("tls"))
        site = Site(stage, rabbitmq, tls_port, papers)
        stage.set_up(**site.amqp("relay"))
        try:
            yield site
        finally:
            stage.end()


def test_everything_runs_over_tls_on_both_sides(site: Site) -> None:
    stage = site.stage
    consumer = stage.consumer(**site.amqp("consumers"))
    relay = stage.start("relay", "run", **site.amqp("relay"))
    relay.streams()
    assert stage.submit("--count", "50").ended() == 0
    stage.applied(50)

    def sessions() -> list[tuple[str, bool, bool]]:
        return [session for session in stage.query(ENCRYPTED) if session[0].startswith("relay")]

    def names() -> set[str]:
        return {name for name, *_ in sessions()}

    until(lambda: names() >= SESSIONS, what="the stream, and all other sessions", seconds=60)
    assert [session for session in sessions() if session[1:] != (True, True)] == []
    connections = site.rabbitmq.control("list_connections", "ssl", "peer_cert_subject", "--no-table-headers")
    assert [line.startswith("true\t") and "CN=the relay" in line for line in connections.splitlines()] == [True, True]

    for asking in (
        stage.run("consumers", "status", "--json", **site.amqp("consumers")),
        stage.run("relay", "status", "--json", **site.amqp("relay")),
        stage.run("relay", "check", **site.amqp("relay")),
    ):
        assert asking.process.returncode == 0, asking.stdout + asking.stderr
    assert (relay.terminate(), consumer.terminate()) == (0, 0)


class TestPostgres:
    def test_another_ca(self, site: Site) -> None:
        line = refusal(site.stage, **site.amqp("relay"), **site.postgres(sslrootcert=f"{site.papers}/stranger-ca.pem"))
        assert "certificate verify failed" in line
        assert "the right sslrootcert, sslcert and sslkey" in line

    def test_another_host_name(self, site: Site) -> None:
        line = refusal(site.stage, **site.amqp("relay"), **site.postgres(host=UNNAMED))
        assert 'server certificate for "localhost" does not match host name "127.0.0.1"' in line

    def test_no_client_certificate(self, site: Site) -> None:
        line = refusal(site.stage, **site.amqp("relay"), **site.postgres(sslcert=None, sslkey=None))
        assert "connection requires a valid client certificate" in line

    def test_a_client_certificate_of_another_ca(self, site: Site) -> None:
        papers = {"sslcert": f"{site.papers}/stranger.pem", "sslkey": f"{site.papers}/stranger.key"}
        line = refusal(site.stage, **site.amqp("relay"), **site.postgres(**papers))
        assert "tlsv1 alert unknown ca" in line

    def test_no_encryption(self, site: Site) -> None:
        line = refusal(site.stage, **site.amqp("relay"), **site.postgres(sslmode="disable"))
        assert "no pg_hba.conf entry" in line
        assert "no encryption" in line

    def test_a_ca_that_is_not_there(self, site: Site) -> None:
        line = refusal(site.stage, **site.amqp("relay"), **site.postgres(sslrootcert=f"{site.papers}/none.pem"))
        assert 'none.pem" does not exist' in line


@pytest.mark.parametrize("command", ["relay", "consumers"])
class TestRabbitmq:
    def test_another_ca(self, site: Site, command: str) -> None:
        line = refusal(site.stage, command, "run", **site.amqp(command, ca="stranger-ca.pem"))
        assert f"TLS with RabbitMQ at localhost:{site.tls_port}/ fails" in line
        assert "CERTIFICATE_VERIFY_FAILED" in line
        assert "give the CA that signed its certificate (AMQP_CA)" in line

    def test_the_systems_authorities_alone(self, site: Site, command: str) -> None:
        line = refusal(site.stage, command, "run", **site.amqp(command, ca=None))
        assert "give the CA that signed its certificate (AMQP_CA)" in line

    def test_another_host_name(self, site: Site, command: str) -> None:
        line = refusal(site.stage, command, "run", **site.amqp(command, host=UNNAMED))
        assert "certificate is not valid for '127.0.0.1'" in line
        assert "name the host as the certificate does" in line

    @pytest.mark.parametrize("client", [None, "stranger"])
    def test_no_client_certificate_or_one_of_another_ca(self, client: str | None, site: Site, command: str) -> None:
        line = refusal(site.stage, command, "run", **site.amqp(command, client=client))
        assert (
            "ALERT" in line or "EOF occurred in violation of protocol" in line
        )  # depends on how early the server closes
        assert "RabbitMQ may want another client certificate: see AMQP_CERTIFICATE, AMQP_KEY" in line

    def test_a_port_without_tls(self, site: Site, command: str) -> None:
        plain = urlsplit(site.rabbitmq.url)._replace(scheme="amqps").geturl()
        line = refusal(site.stage, command, "run", **{**site.amqp(command), f"{command.upper()}_AMQP_URL": plain})
        assert "that port does not speak TLS" in line

    @pytest.mark.parametrize("name", ["CA", "KEY"])
    def test_a_file_that_is_not_pem(self, name: str, site: Site, command: str) -> None:
        owner = f"{command.upper()}_AMQP_{name}"
        papers = {each: path for each, path in site.amqp(command).items() if each != f"{owner}_FILE"}
        line = mistake(site.stage, command, "run", **{**papers, owner: f"{SECRET} ä"})
        assert "the TLS certificates for RabbitMQ cannot be used" in line
        assert "give PEM" in line

    def test_no_encryption_towards_another_machine(self, site: Site, command: str) -> None:
        owner = command.upper()
        url = {f"{owner}_AMQP_URL": f"amqp://relay:{SECRET}@mq.example"}
        line = mistake(site.stage, command, "run", **url)
        assert f"{owner}_AMQP_URL sends passwords and messages unencrypted to mq.example" in line
        assert f"{owner}_AMQP_PLAINTEXT=true" in line
