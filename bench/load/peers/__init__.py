"""Peers: other job queues on Postgres, installed for a comparison. Nothing of the project imports them."""
