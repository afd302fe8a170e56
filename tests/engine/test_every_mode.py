"""Every mode of the public API, found by looking: where it holds, and that it leaves nothing."""

import asyncio
import contextlib
import contextvars
import functools
import gc
import inspect
import threading
import types

import pytest
from interrupts import ARRIVALS, interrupted_everywhere

import gpugrad as gg
from gpugrad.backend import blocks, sim


def public_modes():
    """By name, what can be used in a ``with`` statement: classes, and functions that make such."""
    found, waiting, seen = {}, [("", gg)], []
    while waiting:
        path, module = waiting.pop()
        seen.append(module)
        for name in getattr(module, "__all__", ()):
            value = getattr(module, name)
            if isinstance(value, types.ModuleType):
                if value.__name__.startswith("gpugrad") and value not in seen:
                    waiting.append((f"{path}{name}.", value))
            elif hasattr(value, "__enter__") or inspect.isgeneratorfunction(inspect.unwrap(value)):
                found.setdefault(value, f"{path}{name}")
    return {name: mode for mode, name in found.items()}


# A mode that needs arguments has them here.
ARGUMENTS = {"set_grad_enabled": (False,), "deterministic": (True,), "device": ("sim",)}
MODES = {
    name: functools.partial(mode, *ARGUMENTS.get(name, ())) for name, mode in public_modes().items()
}
modes = pytest.mark.parametrize("name", MODES)


def outside(name):
    """The block around the test in which the mode makes a difference."""
    return gg.no_grad() if name == "enable_grad" else contextlib.nullcontext()


def state():
    """All variables of this thread and task that blocks set, where they are not as at first."""
    values = {"current device": sim.Device().id, "guards": len(sim.sync_callbacks)}
    for variable, value in contextvars.copy_context().items():
        if not variable.name.startswith("gpugrad") or isinstance(value, tuple):
            continue  # tuples list the open blocks
        at_first = contextvars.Context().run(variable.get)
        value = bool(value) if variable.name == "gpugrad_recording" else blocks.now(value)
        if value != at_first:
            values[variable.name] = value
    return values


def mine():
    """The state without what other threads may have set; of autocast's blocks the dtype."""
    return {k: getattr(value, "dtype", value) for k, value in state().items() if k != "guards"}


@pytest.fixture(autouse=True)
def _left_as_found():
    gg.ones(1, device="sim")
    before = state()
    yield
    assert state() == before


def test_the_modes_are_found():
    known = {"no_grad", "enable_grad", "set_grad_enabled", "deterministic", "device"}
    assert set(MODES) >= known | {"debug_mode", "detect_anomaly", "sync_guard"}


@modes
def test_it_nests_and_ends_after_exceptions(name):
    make = MODES[name]
    with outside(name):
        before = mine()
        with contextlib.suppress(KeyError), make():
            inside = mine()
            with make():
                assert mine().keys() == inside.keys()
            assert mine() == inside
            raise KeyError
        assert inside != before
        assert mine() == before


@modes
def test_one_object_serves_for_several_blocks(name):
    with outside(name):
        block = MODES[name]()
        with block:
            inside = mine()
            with block:
                assert mine() == inside
            assert mine() == inside
        before = mine()
        with block:
            assert mine() == inside
        assert mine() == before != inside


@pytest.mark.parametrize("arrival", ARRIVALS)
@modes
def test_it_ends_when_interrupted_anywhere(name, arrival):
    """Not so the modes that a call sets for good: they begin before the block."""
    decorated = MODES[name]()(lambda: None)
    short = name in ("set_grad_enabled", "deterministic")

    def work(made):
        with outside(name):
            decorated()
            if not short:
                with MODES[name](), MODES[name]():
                    pass

    def check(before):
        assert mine() == before

    # Of a short work, all places are tried.
    stride = 1 if short or (arrival == "SIGINT" and name != "sync_guard") else 5
    # The first guard of the process installs watchers; they are there already, for another task.
    guard, task = gg.sync_guard(), contextvars.copy_context()
    task.run(guard.__enter__)
    try:
        interrupted_everywhere(mine, work, check, stride, arrival)
    finally:
        gc.collect()  # what is left of the guards
        task.run(guard.__exit__)


# Generators: what they begin holds for the caller as well, until they are closed.


def steps(make):
    with make():
        yield mine()
        yield mine()


@pytest.mark.parametrize("where", ["here", "thread"])
@modes
def test_a_generator_that_is_left_leaves_no_mode(name, where):
    with outside(name):
        before = mine()
        left = [steps(MODES[name])]
        assert next(left[0]) != before
        if where == "here":
            left.clear()
        else:  # it is closed there, where nothing of this thread can be restored
            thread = threading.Thread(target=left.clear)
            thread.start()
            thread.join()
        assert mine() == before


@pytest.mark.parametrize("how", ["left", "exhausted", "raises", "nested"])
@modes
def test_an_asynchronous_generator_has_its_mode_while_it_runs(name, how):
    """Neither between its steps nor after the last one, whoever closes it."""

    async def steps():
        with MODES[name]() if how == "nested" else contextlib.nullcontext(), MODES[name]():
            inside.append(mine())
            await asyncio.sleep(0)
            inside.append(mine())
            yield 1
            inside.append(mine())
            if how == "raises":
                raise KeyError
            yield 2

    async def main():
        with outside(name):
            before = mine()
            with contextlib.suppress(KeyError):
                async for step in steps():
                    assert mine() == before
                    if step == 1 and how in ("left", "nested"):
                        break
            assert mine() == before
            await asyncio.sleep(0.001)  # the loop closes it, in a task of its own
            assert mine() == before
        return before

    inside = []
    before = asyncio.run(main())
    assert inside == [inside[0]] * len(inside)
    assert inside[0] != before


@modes
def test_other_threads_and_tasks_do_not_see_it(name):
    async def other():
        await asyncio.sleep(0)
        return mine()

    async def holder():
        with outside(name), MODES[name]():
            await asyncio.sleep(0.001)

    async def main():
        return (await asyncio.gather(holder(), other()))[1]

    plain = mine()
    assert asyncio.run(main()) == plain
    seen = []
    with outside(name), MODES[name]():
        thread = threading.Thread(target=lambda: seen.append(mine()))
        thread.start()
        thread.join()
    empty = contextvars.Context().run(mine)
    assert seen == [empty]


@modes
def test_it_decorates_functions_of_every_kind(name):
    make = MODES[name]

    def function():
        """Its text."""
        return mine()

    def generator():
        yield mine()
        yield mine()

    async def coroutine():
        await asyncio.sleep(0)
        return mine()

    async def asynchronous():
        yield mine()
        yield mine()

    async def collected(steps):
        return [step async for step in steps]

    with outside(name):
        before = mine()
        with make():
            inside = mine()
        decorated = make()(function)
        assert mine() == before  # also where the call alone sets the mode
        assert decorated.__doc__ == "Its text."
        assert decorated().keys() == inside.keys()
        made = make()(generator)()
        assert next(made).keys() == inside.keys()
        assert mine() == before
        made.close()
        assert asyncio.run(make()(coroutine)()).keys() == inside.keys()
        both = asyncio.run(collected(make()(asynchronous)()))
        assert [step.keys() for step in both] == [inside.keys()] * 2
        assert mine() == before


def test_a_block_on_another_gpu_restores_the_current_one():
    with gg.device("sim:1"), gg.device("sim:0"):
        assert sim.Device().id == 0
    first, second = (steps(functools.partial(gg.device, f"sim:{i}")) for i in (1, 0))
    next(first), next(second)
    first.close()
    assert sim.Device().id == 0
    second.close()
    with contextlib.suppress(gg.DeviceError), gg.device("sim:9"):
        pass
    assert sim.Device().id == 0
