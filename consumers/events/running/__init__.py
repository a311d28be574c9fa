"""Deliveries to handlers: in order for each aggregate, with retries, until each is settled and acked."""
