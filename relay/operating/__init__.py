"""What an operator types: each noun is one module or one folder, its statements and its commands side by side."""
