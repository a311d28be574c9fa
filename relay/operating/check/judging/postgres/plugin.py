"""Checks of the output plugin: whether it is allowed, and whether Postgres can load it. Pure."""

import re

from outboxkit.checks.finding import Check, Verdict, fail, ok, unknown, warn
from relay.operating.check.judging.postgres.server import Probe, Server

# A list as Postgres parses it: text in double quotes is one item, even with commas in it.
_ITEMS = re.compile(r'"([^"]*)"|([^,\s]+)')
# The classes of "no free slot" and "wal_level is not logical".
# https://www.postgresql.org/docs/current/errcodes-appendix.html
_NOT_ABOUT_PLUGINS = ("53", "55")


def plugin_listed(server: Server) -> Verdict:
    """Judge the list of allowed plugins, which only newer minor versions have."""
    listed = server.settings.get("output_plugin_libraries")
    plugin = server.plugin
    if listed is None:
        return ok("this server has no list of allowed output plugins", output_plugin_libraries=None)
    allowed = [quoted or bare for quoted, bare in _ITEMS.findall(listed)]
    if plugin in allowed:
        return ok(f"output_plugin_libraries allows {plugin}", output_plugin_libraries=listed)
    items = ", ".join(map(_item, dict.fromkeys([*(each for each in allowed if "," not in each and each), plugin])))
    remedy = f"as items, not as one string: ALTER SYSTEM SET output_plugin_libraries = {items}; SELECT pg_reload_conf()"
    if server.wanted == "auto" and "pgoutput" in allowed:
        return warn(
            f"output_plugin_libraries does not list {plugin}: the relay uses pgoutput",
            remedy=remedy,
            output_plugin_libraries=listed,
        )
    return fail(f"output_plugin_libraries does not list {plugin}", remedy=remedy, output_plugin_libraries=listed)


def plugin_works(server: Server) -> Verdict:
    """Judge whether Postgres can load the plugin, by the probe: a temporary slot, created and dropped."""
    plugin = server.plugin
    probe = server.probe(plugin)
    if probe is None:
        return unknown(
            f"{plugin} was not tried: that needs wal_level=logical and a role with REPLICATION",
            remedy=_why_not_tried(server),
            plugin=plugin,
        )
    facts = {"plugin": plugin, "sqlstate": probe.sqlstate}
    if probe.loaded:
        return ok(f"{plugin} is installed and allowed", **facts)
    if (probe.sqlstate or "")[:2] in _NOT_ABOUT_PLUGINS:
        return unknown(f"{plugin} could not be tried: {probe.message}", remedy=_remedy(probe), **facts)
    other = server.probe("pgoutput")
    if server.wanted == "auto" and other is not None and other.loaded:
        return warn(
            f"{plugin} cannot be used ({probe.message}): the relay uses pgoutput",
            remedy=_remedy(probe),
            **facts,
        )
    return fail(f"{plugin} cannot be used: {probe.message}", remedy=_remedy(probe), **facts)


CHECKS = (
    Check("postgres.plugin_listed", plugin_listed),
    Check("postgres.plugin_works", plugin_works),
)


def _remedy(probe: Probe) -> str:
    match probe.sqlstate:
        case "58P01":
            return f"install {probe.plugin} for this server's version (Debian: postgresql-<version>-wal2json)"
        case "42501":
            return "see role.replication and postgres.plugin_listed"
        case "53400":
            return "see postgres.free_slots"
        case "55000":
            return "see postgres.wal_level"
        case _:
            return "see the server's log"


def _why_not_tried(server: Server) -> str:
    if server.logical:
        return "see role.replication"
    if server.logical_with_a_slot:
        return "run `relay setup`, which creates the first logical slot, then check again"
    return "see postgres.wal_level"


def _item(plugin: str) -> str:
    return plugin if plugin.isidentifier() and plugin.islower() else f"'{plugin}'"
