"""What the relay reports about itself: logs, metrics, health."""
