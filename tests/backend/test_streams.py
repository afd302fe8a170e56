"""gpugrad follows CuPy's current stream."""

import numpy as np
import pytest
from gpu import STAND_IN, needs_gpu, needs_lazy
from held import held

import gpugrad as gg

pytestmark = needs_gpu


VALUES = np.random.default_rng(0).standard_normal((64, 32)).astype(np.float32)


def trained(steps):
    """The parameters of a model after some steps on the current stream."""
    gg.manual_seed(3)
    with gg.device("cuda"):
        model = gg.nn.MLP(32, [64, 64, 8])
        optimizer = gg.optim.Adam(model.parameters(), lr=0.01)
        x = gg.tensor(VALUES, device="cuda")
        for _ in range(steps):
            optimizer.zero_grad()
            (model(x) ** 2).mean().backward()
            optimizer.step()
        return [p.detach() for p in model.parameters()]


@pytest.fixture
def streams():
    """Two streams, after everything was compiled and allocated on them, and the right result."""
    import cupy

    expected = [p.numpy() for p in trained(5)]
    made = [cupy.cuda.Stream(non_blocking=True) for _ in range(2)]
    for stream in made:
        with stream:
            trained(5)
    cupy.cuda.runtime.deviceSynchronize()
    return *made, expected


def assert_close(found, expected):
    for got, wanted in zip(found, expected, strict=True):
        np.testing.assert_allclose(got, wanted, rtol=1e-5, atol=1e-6)


@pytest.mark.skipif(STAND_IN, reason="the stand-in runs no kernel beside the host")
def test_two_graphs_on_two_streams(streams):
    """While one stream is held back, a whole training step runs to its end on another."""
    one, two, expected = streams
    with one, held() as event:
        behind = trained(5)
        with two:
            beside = trained(5)
            two.synchronize()
            found = [p.data.get(stream=two) for p in beside]
        assert not event.done, "the work of one stream waited for the other's"
    assert_close(found, expected)
    assert_close([p.numpy() for p in behind], expected)


@needs_lazy
def test_the_work_of_one_stream_runs_without_that_of_the_other(streams):
    import cupy

    one, two, expected = streams
    behind, beside, done = [], [], {}
    for stream, results in ((one, behind), (two, beside)):
        with stream:
            results += trained(5)
            done[stream] = cupy.cuda.Event(disable_timing=True)
            done[stream].record()
    two.synchronize()
    assert done[two].done
    assert not done[one].done, "the work of one stream ran because of the other's"
    assert_close([p.data.get(stream=two) for p in beside], expected)
    assert not done[one].done
    assert_close([p.data.get(stream=one) for p in behind], expected)
