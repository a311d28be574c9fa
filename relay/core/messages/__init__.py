"""What message an event becomes: exchange, routing key, headers."""
