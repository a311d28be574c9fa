"""What the sandbox uses of this machine: users, programs, processes, ports."""
