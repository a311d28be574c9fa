"""Its sessions with Postgres: how they are opened, kept and lost, and what is said when there is none."""
