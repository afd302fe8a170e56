"""Computations recorded once and run as one program: ``gg.compile``. Imports all layers below.

`recorded` is the array type that records, `session` the call that is recorded, `program` what is
written. `passes` makes a program shorter, by `rules` about single steps. `native` compiles it to C;
`replay` runs it with NumPy, CuPy or sim, by a function in Python that `source` and `host_source`
write. `api` has the function that users call.
"""
