-- The next keys of a large round.
FETCH FORWARD {limit} FROM relay_round
