"""Tasks: what a consumer, and a peer, does with a backlog; latency; claims in a large table; a soak."""
