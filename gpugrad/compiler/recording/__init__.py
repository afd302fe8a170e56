"""What a call of a function does, recorded over one more array type."""
