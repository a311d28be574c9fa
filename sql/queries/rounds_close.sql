-- Ends the rounds that the session has kept: the last one, and one of a reading that was broken off.
CLOSE ALL
