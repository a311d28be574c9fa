"""How long a sandbox lives: for a `with` block, or from `sandbox up` to `sandbox down`."""
