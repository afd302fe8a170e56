"""Parameter groups that are changed by hand between steps, as PyTorch's often are."""

import numpy as np
import pytest
from optimizers import OPTIMIZERS

import gpugrad as gg


def _append(groups, new):
    groups[0]["params"].append(new)


def _replace(groups, new):
    groups[0]["params"][1] = new


def _remove(groups, new):
    del groups[0]["params"][0]


def _another_list(groups, new):
    groups[1]["params"] = [new]


def _append_group(groups, new):
    groups.append({**groups[0], "params": [new]})


def _remove_group(groups, new):
    del groups[0]


def _another_group(groups, new):
    groups[0] = {**groups[0], "params": [new]}


CHANGES = [_append, _replace, _remove, _another_list, _append_group, _remove_group, _another_group]


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_a_step_is_of_the_parameters_that_are_in_the_groups(name, device):
    """Each parameter moves as if it had an optimizer of its own, while it is in a group."""
    make = OPTIMIZERS[name]
    slopes = gg.asarray(np.arange(1.0, 4.0), device=device)

    def moved(params):
        for p in params:
            (gg.sin(p * slopes) * (1 + p)).sum().backward()

    for change in CHANGES:
        starts = [np.linspace(i, i + 1, 3) for i in range(5)]
        params, alone = ([gg.tensor(s, requires_grad=True, device=device) for s in starts]
                         for _ in range(2))  # fmt: skip
        others = dict(zip(params, ((p, make([p])) for p in alone)))
        optimizer = make([{"params": params[:2]}, {"params": params[2:4]}])

        for turn in range(6):
            if turn == 3:
                change(optimizer.param_groups, params[4])
            moved([*params, *alone])
            optimizer.step()
            for p in (p for group in optimizer.param_groups for p in group["params"]):
                others[p][1].step()
            for p, (other, _) in others.items():
                expected = other.detach().cpu().numpy()
                np.testing.assert_allclose(p.detach().cpu().numpy(), expected, rtol=1e-9)
                p.grad = other.grad = None
        assert len(optimizer.state) >= 4
        saved = optimizer.state_dict()["param_groups"]
        assert [len(g["params"]) for g in saved] == [
            len(g["params"]) for g in optimizer.param_groups
        ]
