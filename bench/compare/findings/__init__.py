"""From results to sentences: estimates with intervals, what differs, and what that means. Pure."""
