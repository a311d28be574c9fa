"""What a client sees: bodies, problems, pages, ETags, and JSON that keeps its digits. Without I/O."""
