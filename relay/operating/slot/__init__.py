"""`relay slot`: an operator shows, creates or drops the replication slot, or skips transactions."""
