"""Programs as one Python function over an array library: without a compiler."""
