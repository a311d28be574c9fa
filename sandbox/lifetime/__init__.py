"""How long a sandbox lives: for a block, or until it is ended by command."""
