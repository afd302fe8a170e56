"""Gradient modes: blocks, decorators, generators, coroutines, threads, exceptions."""

import asyncio
import threading

import pytest

import gpugrad as gg


def recorded():
    """Whether an operation is recorded just now."""
    x = gg.ones(2, requires_grad=True)
    made = x * 2
    assert made.requires_grad == gg.is_grad_enabled()
    return made.requires_grad


# Blocks.


def test_blocks_nest_and_restore():
    assert recorded()
    with gg.no_grad():
        assert not recorded()
        with gg.enable_grad():
            assert recorded()
            with gg.set_grad_enabled(False):
                assert not recorded()
            assert recorded()
        assert not recorded()
    assert recorded()


@pytest.mark.parametrize("make", [gg.no_grad, lambda: gg.set_grad_enabled(False)])
def test_an_exception_restores_the_mode(make):
    with pytest.raises(KeyError, match="lost"), make():
        raise KeyError("lost")
    assert recorded()


def test_one_object_serves_for_several_blocks_one_in_another():
    mode = gg.no_grad()
    for _ in range(2):
        with mode:
            assert not recorded()
            with gg.enable_grad(), mode:
                assert not recorded()
            assert not recorded()
        assert recorded()


def test_set_grad_enabled_as_a_call_and_again_as_a_block():
    mode = gg.set_grad_enabled(False)
    assert not recorded()
    with mode:
        assert not recorded()
    assert recorded()
    for _ in range(2):
        with mode:
            assert not recorded()
            with mode:
                assert not recorded()
            assert not recorded()
        assert recorded()


def test_set_grad_enabled_from_the_call_on():
    gg.set_grad_enabled(False)
    assert not recorded()
    gg.set_grad_enabled(True)
    assert recorded()


@pytest.mark.parametrize("mode", [True, False])
def test_set_grad_enabled_takes_what_a_flag_says(mode):
    with gg.set_grad_enabled(mode):
        assert recorded() is mode


def test_what_is_made_inside_no_grad_is_a_leaf_without_gradient():
    x = gg.ones(2, requires_grad=True)
    with gg.no_grad():
        y = x * 3
        z = gg.zeros(2, requires_grad=True)
    assert not y.requires_grad
    assert y.is_leaf
    assert z.requires_grad
    with pytest.raises(gg.GradientError, match="requires no gradient"):
        y.sum().backward()


def test_a_backward_pass_works_inside_no_grad():
    x = gg.ones(2, requires_grad=True)
    y = (x * x).sum()
    with gg.no_grad():
        y.backward(create_graph=True)
        assert not recorded()
    assert x.grad.requires_grad
    assert x.grad.tolist() == [2.0, 2.0]


# Decorators.


@pytest.mark.parametrize(
    "mode", [gg.no_grad, gg.no_grad(), lambda f: gg.set_grad_enabled(False)(f)]
)
def test_decorated_function(mode):
    @mode
    def f(a, *, b=1):
        """Says what it does."""
        return a, b, recorded()

    assert recorded()
    assert f(2, b=3) == (2, 3, False)
    assert f(2) == (2, 1, False)
    assert recorded()
    assert f.__name__ == "f"
    assert f.__doc__ == "Says what it does."


def test_decorated_functions_may_be_recursive_and_may_raise():
    @gg.no_grad
    def f(n):
        assert not recorded()
        if n:
            with gg.enable_grad():
                f(n - 1)
                assert recorded()
        else:
            raise LookupError("end")

    with pytest.raises(LookupError, match="end"):
        f(3)
    assert recorded()


def test_decorated_method_and_enable_grad():
    class Model:
        @gg.enable_grad()
        def run(self):
            return recorded()

    with gg.no_grad():
        assert Model().run()
        assert not recorded()


# Generators.


@pytest.mark.parametrize("mode", [gg.no_grad, gg.no_grad()])
def test_a_generator_has_its_mode_between_yields_and_the_caller_has_its_own(mode):
    @mode
    def steps():
        received = []
        try:
            while True:
                assert not recorded()
                received.append((yield len(received)))
                if received[-1] == "stop":
                    return received
        except LookupError:
            assert not recorded()
            yield "caught"
        finally:
            assert not recorded()
            received.append("closed")

    g = steps()
    assert next(g) == 0
    assert recorded()
    assert g.send("a") == 1
    assert recorded()
    assert g.throw(LookupError("x")) == "caught"
    assert recorded()
    g.close()
    assert recorded()

    def outer():
        return (yield from steps())

    h = outer()
    next(h)
    with pytest.raises(StopIteration) as stop:
        h.send("stop")
    assert stop.value.value == ["stop", "closed"]
    assert recorded()


def test_a_generator_that_raises_restores_the_mode():
    @gg.no_grad
    def steps():
        yield 1
        raise LookupError("end")

    g = steps()
    next(g)
    with pytest.raises(LookupError, match="end"):
        next(g)
    assert recorded()


def test_two_generators_taken_in_turn():
    @gg.no_grad
    def off():
        while True:
            yield recorded()

    @gg.enable_grad
    def on():
        while True:
            yield recorded()

    with gg.no_grad():
        pairs = [(next(a), next(b), gg.is_grad_enabled()) for a, b in [(off(), on())] * 3]
    assert pairs == [(False, True, False)] * 3


# Coroutines and tasks.


def test_coroutines_and_tasks_have_modes_of_their_own():
    @gg.no_grad
    async def off(event, other):
        assert not recorded()
        event.set()
        await other.wait()
        assert not recorded()
        return "off"

    async def on(event, other):
        await other.wait()
        assert recorded()
        with gg.no_grad():
            event.set()
            await asyncio.sleep(0)
            assert not recorded()
        return "on"

    async def main():
        one, two = asyncio.Event(), asyncio.Event()
        assert await asyncio.gather(off(one, two), on(two, one)) == ["off", "on"]
        assert recorded()
        assert await off(one, two) == "off"
        assert recorded()

    asyncio.run(main())
    assert recorded()


def test_a_coroutine_that_raises_or_is_cancelled_restores_the_mode():
    @gg.no_grad()
    async def fails():
        raise LookupError("end")

    @gg.no_grad()
    async def waits():
        await asyncio.sleep(30)

    async def main():
        with pytest.raises(LookupError, match="end"):
            await fails()
        assert recorded()
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(waits(), 0.01)
        assert recorded()

    asyncio.run(main())


@pytest.mark.parametrize("mode", [gg.no_grad, gg.no_grad()])
def test_asynchronous_generators(mode):
    closed = []

    @mode
    async def steps():
        try:
            for index in range(9):
                assert not recorded()
                try:
                    assert (yield index) in (None, "a")
                except LookupError:
                    assert not recorded()
        finally:
            closed.append(recorded())

    async def main():
        seen = [index async for index in steps() if recorded()]
        assert seen == list(range(9))
        assert closed == [False]
        g = steps()
        assert await anext(g) == 0
        assert await g.asend("a") == 1
        assert await g.athrow(LookupError("x")) == 2
        assert recorded()
        await g.aclose()
        assert closed == [False, False]
        assert recorded()

    asyncio.run(main())


# Threads.


def test_a_thread_starts_with_recording_on_and_keeps_its_mode_to_itself():
    inside, outside = threading.Event(), threading.Event()
    seen = {}

    def other():
        seen["start"] = recorded()
        with gg.no_grad():
            inside.set()
            outside.wait(10)
            seen["inside"] = recorded()
        seen["after"] = recorded()

    with gg.no_grad():
        thread = threading.Thread(target=other)
        thread.start()
        assert inside.wait(10)
        with gg.enable_grad():
            assert recorded()
            outside.set()
            thread.join()
        assert not recorded()
    assert seen == {"start": True, "inside": False, "after": True}
    assert recorded()
