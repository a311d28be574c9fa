"""One attempt to apply an event, in one transaction; and where events go that cannot be applied."""
