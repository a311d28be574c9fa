"""These tests have a Postgres of their own."""

from tests.integration.relay.sources.handover.private_server import isolation, scene, server

__all__ = ["isolation", "scene", "server"]
