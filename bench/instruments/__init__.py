"""What measures: clocks, counters, and what is computed from them."""
