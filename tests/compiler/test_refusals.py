"""What cannot be recorded raises with the user's line and a way out, and leaves all as it was."""

import numpy as np
import pytest
from twins import state_of

import gpugrad as gg

REFUSED = {
    "if": lambda x, w: x if x.sum() > 0 else w,
    "while": lambda x, w: [x for _ in iter(lambda: bool((x > 0).all()), True)],
    "float": lambda x, w: w * float(x.sum()),
    "int": lambda x, w: w[int(x.sum())],
    "index": lambda x, w: [1, 2, 3][(x.sum() * 0).astype("int64")],
    "range": lambda x, w: [w for _ in range(x.argmax())],
    "print": lambda x, w: str(x),
    "f-string": lambda x, w: f"{x.sum():.3f}",
    "numpy": lambda x, w: gg.tensor(x.detach().numpy() * 2),
    "asarray": lambda x, w: np.asarray(x),
    "tolist": lambda x, w: x.tolist(),
    "mask": lambda x, w: w[x > 0],
    "nonzero": lambda x, w: gg.nonzero(x),
    "unique": lambda x, w: gg.unique(x),
    "captured float": lambda x, w: x * float(w.detach()[0]),
    "captured numpy": lambda x, w: x * w.detach().numpy(),
    "captured print": lambda x, w: str(w.detach()),
    "max": lambda x, w: max(x.sum(), w.sum()),
    "allclose": lambda x, w: x if gg.allclose(x, w) else w,
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_asks_for_values_is_refused(name):
    x, w = gg.tensor([1.0, 2.0, -3.0]), gg.ones(3, requires_grad=True)
    optimizer = gg.optim.SGD([w], lr=0.1, momentum=0.9)
    kept = gg.zeros(3)

    @gg.compile
    def step(x):
        kept[0] = 5.0
        loss = (w * x).sum()
        loss.backward()
        optimizer.step()
        return REFUSED[name](x, w)

    before = state_of(x, w, optimizer, kept)
    for _ in range(2):
        with pytest.raises(gg.CompileError, match=r"compile: .*test_refusals.*(Write|Compute)"):
            step(x)
        assert state_of(x, w, optimizer, kept) == before


def test_a_tensor_that_is_kept_elsewhere_cannot_be_used_afterwards():
    kept = []

    @gg.compile
    def double(x):
        kept.extend([x * 2, gg.zeros(3)])
        return x * 3

    double(gg.ones(3))
    for tensor in kept:
        with pytest.raises(gg.CompileError, match="Return it from the"):
            tensor + 1
