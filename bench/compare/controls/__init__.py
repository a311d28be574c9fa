"""Two relays as people write them by hand: sources for the relay's engine, to be told from good ones."""
