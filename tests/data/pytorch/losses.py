"""Writes losses.npz: values and gradients of PyTorch's losses.

    python tests/data/pytorch/losses.py

Needs PyTorch, which the tests do not. A case is a call of `torch.nn.functional`, with the names of
the arrays below; `tests/nn/test_losses.py` makes the same call of gpugrad's. Its row has the value,
or the values of each sample, and the gradients of the sum of their squares by the operands in
small letters that it names.
"""

from pathlib import Path

import numpy as np
import torch

REDUCED = """
binary_cross_entropy(p, P)
binary_cross_entropy(p, P, weight=W)
binary_cross_entropy_with_logits(x, P, weight=W, pos_weight=V)
cross_entropy(x, C, weight=V)
cross_entropy(x, C, weight=V, ignore_index=1)
cross_entropy(x, C, weight=V, label_smoothing=0.3)
cross_entropy(x, C, weight=V, label_smoothing=0.3, ignore_index=2)
cross_entropy(x, C, label_smoothing=0.3, ignore_index=2)
cross_entropy(x, P, weight=V, label_smoothing=0.2)
cross_entropy(x, P)
nll_loss(x, C, weight=V)
nll_loss(x, C, weight=V, ignore_index=0)
kl_div(x, P)
kl_div(x, Z)
kl_div(x, y, log_target=True)
smooth_l1_loss(x, y)
smooth_l1_loss(x, y, beta=0.25)
smooth_l1_loss(x, y, beta=0)
huber_loss(x, y, delta=0.5)
poisson_nll_loss(x, N)
poisson_nll_loss(p, N, log_input=False, full=True)
gaussian_nll_loss(x, y, p)
gaussian_nll_loss(x, y, v, full=True)
gaussian_nll_loss(x, y, v, eps=0.5)
margin_ranking_loss(x, y, S, margin=0.3)
hinge_embedding_loss(x, S)
hinge_embedding_loss(x, S, margin=0.2)
soft_margin_loss(x, S)
multi_margin_loss(x, C)
multi_margin_loss(x, C, p=2, margin=0.5, weight=V)
multilabel_soft_margin_loss(x, S01)
multilabel_soft_margin_loss(x, S01, weight=V)
cosine_embedding_loss(x, y, T)
cosine_embedding_loss(x, y, T, margin=0.3)
triplet_margin_loss(x, y, z)
triplet_margin_loss(x, y, z, margin=0.5, p=1, swap=True)
""".strip().splitlines()
OTHERS = """
kl_div(x, P, reduction='batchmean')
cosine_similarity(x, y)
cosine_similarity(x, y, dim=0)
pairwise_distance(x, y)
pairwise_distance(x, y, p=3.0, eps=0.1, keepdim=True)
normalize(x)
normalize(x, p=1.0, dim=0)
embedding(C, x, padding_idx=1)
""".strip().splitlines()


def operands() -> dict[str, np.ndarray]:
    rng = np.random.default_rng(8)
    arrays = {name: rng.standard_normal((4, 3)) for name in "xyz"}
    arrays["p"] = rng.uniform(0.05, 0.95, (4, 3))
    arrays["v"] = rng.uniform(0.2, 2, (4, 1))
    arrays["P"] = rng.dirichlet(np.ones(3), 4)
    arrays["Z"] = arrays["P"] * np.array([1.0, 0.0, 1.0])
    arrays["N"] = rng.poisson(2.0, (4, 3)).astype(float)
    arrays["W"] = rng.uniform(0.5, 2, (4, 3))
    arrays["V"] = np.array([0.5, 2.0, 1.25])
    arrays["C"] = np.array([2, 0, 1, 2])
    arrays["S"] = np.where(rng.uniform(0, 1, (4, 3)) < 0.5, -1.0, 1.0)
    arrays["S01"] = (arrays["S"] + 1) / 2
    arrays["T"] = np.array([1.0, -1.0, -1.0, 1.0])
    return arrays


def main() -> None:
    arrays = operands()
    rows = dict(arrays)
    calls = [
        f"{call[:-1]}, reduction={reduction!r})"
        for call in REDUCED
        for reduction in ("mean", "sum", "none")
    ]
    for call in (*calls, *OTHERS):
        tensors = {name: torch.tensor(array) for name, array in arrays.items()}
        leaves = [t.requires_grad_() for name, t in tensors.items() if name in "xyzpv"]
        loss = eval(f"torch.nn.functional.{call}", {"torch": torch}, tensors)
        grads = torch.autograd.grad((loss * loss).sum(), leaves, allow_unused=True)
        found = [loss, *(g for g in grads if g is not None)]
        rows[call] = np.concatenate([t.detach().numpy().ravel() for t in found])
    # One array holds all rows, and one their texts: a file of its own costs each more than it is.
    texts = [name for name in rows if name not in arrays]
    numbers = np.concatenate([rows[name] for name in texts])
    sizes = np.array([rows[name].size for name in texts])
    np.savez_compressed(
        Path(__file__).with_suffix(".npz"),
        calls=np.array(texts), numbers=numbers, sizes=sizes, **arrays,
    )  # fmt: skip


if __name__ == "__main__":
    main()
