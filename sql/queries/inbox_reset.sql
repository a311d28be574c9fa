-- Removes all that an earlier handler has left in the session. https://www.postgresql.org/docs/current/sql-discard.html
DISCARD ALL
