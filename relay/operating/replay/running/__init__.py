"""A job: what is stored of it, its run, and how far it is."""
