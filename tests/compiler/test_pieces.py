"""gg.compile(f, strict=False) where Python asks for values: what is between them, as programs."""

import threading
from random import Random

import numpy as np
import pytest
from functions_by_chance import BINARY, UNARY, changed
from test_lenient import RECORDED, step_of
from test_refusals import REFUSED
from twins import seen, state_of

import gpugrad as gg
from gpugrad.compiler import pieces
from gpugrad.compiler.recording import unseen

TOLD = ("float", "print", "f-string", "tolist", "captured float", "captured print")


@pytest.fixture(autouse=True)
def small_ones_too(monkeypatch):
    """Let small arrays be left out of recordings, and functions of few elements have pieces."""
    monkeypatch.setattr(pieces, "ENOUGH", 0)
    monkeypatch.setattr(pieces, "LARGE", 1)
    monkeypatch.setattr(unseen, "LARGE", 1)
    monkeypatch.setattr(pieces.Programs, "may_run", lambda self: True)


def lenient(f):
    return gg.compile(f, strict=False)


@pytest.mark.parametrize("name", [name for name in REFUSED if name not in RECORDED])
def test_a_step_in_pieces_does_what_it_does(name, by_numpy):
    def f(x, w):  # a result with a graph runs as without compile
        return REFUSED[name](x, w.detach())

    compiled, got = step_of(lenient, f)
    assert got == step_of(lambda f: f, f)[1]
    assert ("(2 compiled)" in compiled.report()) == (name in TOLD)


def program(number, x, w, kept, told):
    """A program of 5 to 25 operations and changes in place, which looks at some of its values."""
    rng = Random(number)
    values = [x, w]
    for _ in range(rng.randint(5, 25)):
        a = rng.choice(values[-4:])
        kind = rng.randrange(6)
        if kind == 0:
            a = changed(rng, a, rng.choice(values))
        elif kind == 1:
            a = rng.choice(UNARY)(a)
        elif kind == 2:
            a = rng.choice(BINARY)(a, rng.choice(values))
        elif kind == 3:
            kept[rng.randrange(3)] += a.detach()[0]
        else:
            total = (kept if rng.random() < 0.3 else a.detach()).sum()
            way = rng.randrange(5)
            if way < 2:
                number = float(total) if way else total.item()
                a = a * number / (1 + abs(number)) + 2.0
            elif way == 2 and total > 0:
                a = a - 0.5
            told.append(str(total) if way == 3 else f"{total:.4f}")
        values.append(a)
    return (values[-1] * values[-2] + x * w).mean()


def results(number, compile):
    """What four calls give and leave behind."""
    rng = np.random.default_rng(number)
    w, kept = (gg.tensor(rng.normal(size=(3, 4))) for _ in range(2))
    w.requires_grad_()
    optimizer, told = gg.optim.Adam([w], lr=0.1), []

    def step(x):
        optimizer.zero_grad()
        loss = program(number, x, w, kept, told)
        loss.backward()
        optimizer.step()
        return loss.detach(), kept * 1.0

    step, seen_so_far = compile(step), []
    for _ in range(4):
        made = step(gg.tensor(rng.normal(size=(3, 4))))
        seen_so_far += [seen(made), *told, state_of(w, optimizer, kept)]
        told.clear()
    return step, seen_so_far


@pytest.mark.parametrize("number", range(40))
def test_random_programs_that_look_at_values(number, by_numpy):
    compiled, got = results(number, lenient)
    assert got == results(number, lambda f: f)[1]
    assert "runs without compile" not in compiled.report()


def test_pieces_in_c():
    def f(x, w):
        size = float(gg.abs(x * w).sum())
        y = gg.exp(x / size) * 2.0
        return y + y.item() * 0 if y.ndim == 0 else y - float(y.mean()), y.T

    compiled, rng = lenient(f), np.random.default_rng(0)
    for _ in range(5):
        x, w = (gg.tensor(rng.normal(size=(5, 7))) for _ in range(2))
        for got, expected in zip(compiled(x, w), f(x, w)):
            np.testing.assert_allclose(got.numpy(), expected.numpy(), rtol=1e-12, atol=1e-12)
    assert "runs in pieces, of 3 programs (3 compiled)" in compiled.report()


def test_a_loop_that_looks_at_each_turn_has_few_pieces(by_numpy):
    def f(x, told):
        for _ in range(20):
            x = x + 0.1 * gg.sin(x) * gg.cos(x)
            told.append(float(x[0]))
        return x

    expected, got = [], []
    compiled = lenient(lambda x: f(x, got))
    for value in (1.0, 2.0, 3.0):
        x = gg.tensor([value, 2.0])
        assert seen(compiled(x)) == seen(f(x, expected))
    assert got == expected
    assert "of 1 programs (1 compiled)" in compiled.report()


@pytest.mark.parametrize("number", [0.0, -0.0, float("nan"), float("inf"), 0.1])
def test_numbers_that_change_from_call_to_call(number, by_numpy):
    numbers = []

    def f(x):
        return (x * numbers[-1] + float(x[0])) / numbers[-1]

    compiled = lenient(f)
    for one in (1.0, number, -0.0, 0.0, number, 2.0):
        numbers.append(one)
        with np.errstate(all="ignore"):
            x = gg.tensor([1.0, -1.0])
            assert seen(compiled(x)) == seen(f(x))


def test_whole_numbers_and_truth_values_are_not_each_other(by_numpy):
    given = []

    def f(x):
        return x * given[-1] + gg.asarray(float(x[0])) * 0, x[given[-1] :]

    compiled = lenient(f)
    for one in (1, True, 1, 0, False, 2, 1):
        given.append(one)
        x = gg.tensor([1, 2, 3])
        assert seen(compiled(x)) == seen(f(x))


def test_what_is_kept_elsewhere_is_what_the_function_has_made(by_numpy):
    kept = []

    def f(x, keeps):
        y = x * 2
        if keeps:
            kept.append(y)
        return y + float(y.sum())

    compiled, x = lenient(lambda x: f(x, len(kept) or x.shape == (2,))), gg.ones(3)
    for _ in range(3):
        assert compiled(x).tolist() == [8.0] * 3
    assert not kept
    assert "runs in pieces, of 2 programs" in compiled.report()
    kept.append(None)
    for _ in range(2):
        assert compiled(x).tolist() == [8.0] * 3
    assert kept[-1].tolist() == [2.0] * 3
    assert "runs without compile" in compiled.report()


def test_errors_leave_all_as_it_was(by_numpy):
    kept, generator = gg.zeros(3), gg.random.Generator(1)

    class UsersError(Exception):
        pass

    @lenient
    def f(x):
        kept[0] += 1.0
        noise = generator.normal(3)
        if float(x.sum()) > 5:
            raise UsersError
        return x * noise

    for _ in range(3):
        f(gg.ones(3))
    before = state_of(kept)
    with pytest.raises(UsersError):
        f(gg.ones(3) * 2)
    assert state_of(kept) == before
    f(gg.ones(3))
    assert kept[0].item() == 4.0
    assert "runs in pieces" in f.report()


def test_other_threads_do_not_meet_what_records(monkeypatch):
    monkeypatch.undo()
    monkeypatch.setattr(threading, "active_count", lambda: alive)
    alive = 1
    assert pieces.Programs.may_run()
    alive = 2
    assert not pieces.Programs.may_run()


def test_too_many_pieces_are_none(by_numpy):
    counts = []

    def f(x):
        for _ in range(counts[-1]):
            x = gg.sin(x) + 1.0
        return x * float(x.sum())

    compiled, x = lenient(f), gg.ones(3)
    for count in range(40):
        counts.append(count)
        assert seen(compiled(x)) == seen(f(x))
    assert "runs without compile" in compiled.report()


def test_small_arrays_run_as_without_compile(monkeypatch):
    monkeypatch.undo()
    f = lenient(lambda x: x * float(x.sum()))
    assert [f(gg.ones(3)).tolist() for _ in range(3)] == [[3.0] * 3] * 3
    assert "runs without compile" in f.report()
