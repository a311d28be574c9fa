"""What the sandbox uses of this machine: directories, users, programs, processes, ports, signals."""
