"""Which steps of a program share a loop, for C and for CUDA."""
