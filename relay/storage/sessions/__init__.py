"""Sessions with Postgres: one connection each, how long a statement may take, and what its errors mean."""
