"""The outbox, read by any number of pollers that share its rows: no order, and no position but marks."""
