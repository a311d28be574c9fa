-- Ends a round of the shadow.
CLOSE relay_shadow
