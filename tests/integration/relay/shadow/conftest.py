"""A private Postgres, as for the tests of hand-overs: commits can wait for a standby that is not there."""

from tests.integration.relay.sources.handover.private_server import isolation, scene, server

__all__ = ["isolation", "scene", "server"]
