"""gpugrad follows CuPy's current stream."""

import numpy as np
import pytest
from held import held

import gpugrad as gg

pytestmark = pytest.mark.skipif(not gg.cuda.is_available(), reason="needs a GPU")


def test_two_graphs_on_two_streams():
    """While one stream is held back, a whole training step runs to its end on another."""
    import cupy

    values = np.random.default_rng(0).standard_normal((64, 32)).astype(np.float32)

    def trained(steps):
        gg.manual_seed(3)
        model = gg.nn.MLP(32, [64, 64, 8])
        optimizer = gg.optim.Adam(model.parameters(), lr=0.01)
        x = gg.tensor(values, device="cuda")
        for _ in range(steps):
            optimizer.zero_grad()
            (model(x) ** 2).mean().backward()
            optimizer.step()
        return [p.detach() for p in model.parameters()]

    with gg.device("cuda"):
        expected = [p.numpy() for p in trained(5)]
        one, two = (cupy.cuda.Stream(non_blocking=True) for _ in range(2))
        for stream in (one, two):  # what is compiled and allocated once is
            with stream:
                trained(5)
        cupy.cuda.runtime.deviceSynchronize()
        with one, held() as event:
            behind = trained(5)
            with two:
                beside = trained(5)
                two.synchronize()
                found = [p.data.get(stream=two) for p in beside]
            assert not event.done, "the work of one stream waited for the other's"
        for got, wanted in zip(found, expected):
            np.testing.assert_allclose(got, wanted, rtol=1e-5, atol=1e-6)
        for got, wanted in zip(behind, expected):
            np.testing.assert_allclose(got.numpy(), wanted, rtol=1e-5, atol=1e-6)
