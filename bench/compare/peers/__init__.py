"""Peers: other relays and table queues, run through the same scene as the arms by `bench peers`."""
