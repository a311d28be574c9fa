"""What a comparison measures: its forms, sizes and workload, and the order of its runs. Pure, apart from one file."""
