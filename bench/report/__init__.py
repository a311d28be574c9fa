"""Results as tables and JSON, with the machine that they were measured on."""
