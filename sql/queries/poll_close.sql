-- Ends a large round.
CLOSE relay_round
