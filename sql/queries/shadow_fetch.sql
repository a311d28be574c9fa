-- The next events of a round of the shadow.
FETCH FORWARD {limit} FROM relay_shadow
