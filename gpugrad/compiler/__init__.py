"""Computations recorded once and run as one program: ``gg.compile``. Imports all layers below.

`recorded` is the array type that records, `program` what it writes, `passes` make it shorter,
`replay` runs it with NumPy, and `api` has the function that users call.
"""
