"""Recording and differentiating operations on raw arrays. Imports backend and errors.

The engine knows no op and no Tensor class: the tables of `gpugrad.ops` and the class of
`gpugrad.tensor` register themselves with it.
"""
