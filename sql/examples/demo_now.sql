-- The time, by the database's clock.
SELECT clock_timestamp()
