"""How a scheduled job is declared: its name, its times and its lock. Nothing here runs one."""
