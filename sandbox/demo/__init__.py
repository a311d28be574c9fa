"""`sandbox demo`: tasks go the whole way from a commit to a handler, while the relay is killed and loses its slot."""
