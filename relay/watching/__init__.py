"""What the relay says about itself: log lines, metrics, health."""
