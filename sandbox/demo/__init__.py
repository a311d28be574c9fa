"""`sandbox demo`: tasks go the whole way from a commit to a handler, and the relay is killed in the middle."""
