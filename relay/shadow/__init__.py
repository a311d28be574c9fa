"""Shadow mode: the other source is read beside the live stream, published nowhere, and compared with it."""
