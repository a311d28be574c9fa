"""Small services that run beside the stream, each in a file of its own."""
