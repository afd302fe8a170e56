"""What a call of a compiled function does before and after its program runs."""
