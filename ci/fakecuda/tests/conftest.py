"""Fixtures of the driver's tests. CuPy is imported in them: other tests want it not to be."""

import pytest
from turns import pytest_runtestloop

__all__ = ["pytest_runtestloop"]  # pytest finds it here


@pytest.fixture
def memory():
    """Allocates device memory of exactly so many bytes, and frees it in the end."""
    from cupy.cuda import runtime

    pointers = []

    def allocate(size):
        pointers.append(runtime.malloc(size))
        return pointers[-1]

    yield allocate
    for pointer in pointers:
        runtime.free(pointer)


@pytest.fixture
def stream():
    """A non-blocking stream, which captures no more when the test is over."""
    import cupy

    stream = cupy.cuda.Stream(non_blocking=True)
    yield stream
    try:
        cupy.cuda.runtime.streamEndCapture(stream.ptr)
    except cupy.cuda.runtime.CUDARuntimeError:
        pass  # the test ended the capture, as it should


@pytest.fixture
def x():
    """Four zeros on the device."""
    import cupy

    x = cupy.zeros(4, cupy.float32)
    cupy.cuda.runtime.deviceSynchronize()
    return x
