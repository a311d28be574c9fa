"""What makes load: processes that write, publish and receive."""
