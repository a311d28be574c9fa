-- Ends the rounds of the shadow that the session has kept: the last one, or one of a comparison that was broken off.
CLOSE ALL
