"""Where events come from. A new source implements relay.core.ports.Source."""
