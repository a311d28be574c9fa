"""The transactions in which handlers run, and the sessions that they use one after another."""
