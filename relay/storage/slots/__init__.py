"""The replication slot: how it stands, how it is made, and who holds that up."""
