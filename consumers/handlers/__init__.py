"""Users' handlers: registered, and run in threads."""
