"""How a process starts, is told to stop, prints, and ends: the same for every program of the project."""
