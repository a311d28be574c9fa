"""`relay slot`: the replication slot, looked at and changed by an operator."""
