"""The sessions with Postgres: one transaction for each request, and what is said when there is none."""
