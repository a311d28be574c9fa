"""How a handler of events is declared, and what it gets. Nothing here runs one."""
