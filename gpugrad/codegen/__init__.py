"""Formulas written as C, for CUDA and for host compilers. Imports errors and backend."""
