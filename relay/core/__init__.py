"""What flows through the relay, and the loop that moves it. It knows no source, no storage and no broker."""
