"""What an audit compares: stretches of the past, and what became of their events. The relay compares too."""
