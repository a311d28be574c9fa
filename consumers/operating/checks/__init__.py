"""What `consumers check` looks at: each module asks for facts, and has pure functions that judge them."""
