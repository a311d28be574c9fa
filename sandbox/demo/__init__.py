"""`sandbox demo`: the whole path, with a crash in the middle."""
