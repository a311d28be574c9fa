"""Which source runs, and how one goes on where the other ends."""
