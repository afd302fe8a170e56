"""Every mode is as it was after exceptions: in hooks, threads, generators and async tasks."""

import asyncio
import contextlib
import contextvars
import gc
import threading

import numpy as np
import pytest
from interrupts import interrupted_everywhere

import gpugrad as gg
from gpugrad.autodiff import tree
from gpugrad.backend import blocks as blocks_
from gpugrad.backend import sim
from gpugrad.compiler.recording.record import record
from gpugrad.engine import detours, modes


def state():
    """Everything that a block may have changed in this thread or task."""
    guarded = True
    try:
        gg.ones((), device="sim").data.item()
    except gg.SyncError:
        pass
    else:
        guarded = False
    return (
        gg.is_grad_enabled(),
        modes.observer.get() is not None,
        guarded,
        str(gg.default_device()),
        sim.Device().id,
        len(sim.sync_callbacks),
    )


PLAIN = (True, False, False, "cpu", 0, 0)

BLOCKS = {
    "no_grad": gg.no_grad,
    "enable_grad": gg.enable_grad,
    "set_grad_enabled": lambda: gg.set_grad_enabled(False),
    "detect_anomaly": gg.detect_anomaly,
    "debug_mode": gg.debug_mode,
    "sync_guard": gg.sync_guard,
    "device": lambda: gg.device("sim:1"),
}
blocks = pytest.mark.parametrize("block", BLOCKS.values(), ids=list(BLOCKS))
# Blocks whose objects serve for several blocks, and decorate.
LASTING = {name: BLOCKS[name] for name in BLOCKS if name not in ("device", "set_grad_enabled")}
lasting = pytest.mark.parametrize("block", LASTING.values(), ids=list(LASTING))


@pytest.fixture(autouse=True)
def _plain():
    with gg.device("cpu"):
        assert state() == PLAIN
        yield
        assert state() == PLAIN


@pytest.mark.parametrize("error", [KeyError, KeyboardInterrupt, GeneratorExit])
@blocks
def test_exceptions(block, error):
    with pytest.raises(error), block():
        raise error
    assert state() == PLAIN


@pytest.mark.parametrize("outer", BLOCKS.values(), ids=list(BLOCKS))
@blocks
def test_exceptions_in_a_block_within_a_block(block, outer):
    with outer():
        before = state()
        with pytest.raises(KeyError), block():
            raise KeyError
        assert state() == before
    assert state() == PLAIN


@blocks
def test_an_error_of_a_backward_pass(block):
    x = gg.tensor([1.0, 2.0], requires_grad=True)
    y = x * 1
    y.register_hook(lambda g: {}["lost"])
    loss = y.sum()
    for create_graph in (False, True):
        with pytest.raises(KeyError, match="lost"), block():
            loss.backward(retain_graph=True, create_graph=create_graph)
        assert state() == PLAIN


@blocks
def test_a_hook_that_sets_a_mode_and_raises(block):
    x = gg.tensor([1.0, 2.0], requires_grad=True)

    def hook(g):
        with block():
            raise KeyError("lost")

    x.register_hook(hook)
    x.register_post_accumulate_grad_hook(hook)
    with pytest.raises(KeyError, match="lost"):
        (x * 1).sum().backward()
    assert state() == PLAIN


def test_a_hook_that_leaves_a_mode_changes_neither_the_pass_nor_what_follows():
    x = gg.tensor([1.0, 2.0], requires_grad=True)
    y = x * x
    y.register_hook(lambda g: gg.set_grad_enabled(False) and None)
    (g,) = gg.gradients((y * y).sum(), [x], create_graph=True)
    assert state() == PLAIN
    (h,) = gg.gradients(g.sum(), [x])
    np.testing.assert_allclose(h.numpy(), [12.0, 48.0])
    x.register_hook(lambda g: gg.set_grad_enabled(True) and None)
    with gg.no_grad():
        x.backward(gg.ones(2))
        assert not gg.is_grad_enabled()


def test_functions_that_call_the_user_s_restore_modes():
    def fail(x):
        gg.set_grad_enabled(False)
        raise KeyError("lost")

    x = gg.ones(2)
    for call in (
        lambda: gg.grad(fail)(x),
        lambda: gg.jvp(fail, (x,), (x,)),
        lambda: gg.checkpoint(fail)(gg.ones(2, requires_grad=True)),
        lambda: gg.no_grad()(fail)(x),
        lambda: gg.detect_anomaly()(fail)(x),
    ):
        with pytest.raises(KeyError, match="lost"):
            call()
        gg.set_grad_enabled(True)  # the user's own call, where nothing undoes it
        assert state() == PLAIN


@pytest.mark.parametrize("outer", [contextlib.nullcontext, gg.enable_grad, gg.no_grad])
@pytest.mark.parametrize("name", ["no_grad", "enable_grad", "detect_anomaly", "debug_mode"])
def test_an_interrupt_at_any_place_leaves_no_mode(name, outer):
    """Not so set_grad_enabled, whose call alone sets the mode for good."""
    block = BLOCKS[name]

    def work(made):
        with outer(), block():
            pass

    def check(made):
        assert gg.is_grad_enabled()
        with gg.enable_grad():  # what an interrupt at the very end has left is tidied up by others
            pass
        assert state()[:5] == PLAIN[:5]

    interrupted_everywhere(lambda: None, work, check)
    if name in LASTING:
        decorated = block()(lambda: None)
        interrupted_everywhere(lambda: None, lambda made: decorated(), check)


# Threads.


@blocks
def test_a_thread_that_fails_changes_no_other(block):
    inside, go_on, failed = threading.Event(), threading.Event(), []

    def work():
        try:
            with block():
                inside.set()
                assert go_on.wait(10)
                raise KeyError
        except KeyError:
            with gg.device("cpu"):
                failed.append(state())

    thread = threading.Thread(target=work)
    thread.start()
    assert inside.wait(10)
    assert state()[:5] == PLAIN[:5]  # the last counts guards of all threads
    go_on.set()
    thread.join()
    assert failed == [PLAIN]
    assert state() == PLAIN


@lasting
def test_threads_may_share_one_object(block):
    shared = block()
    first, second, failures = threading.Event(), threading.Event(), []

    def one():
        with gg.device("cpu"), shared:
            first.set()
            assert second.wait(10)
        with gg.device("cpu"):
            failures.append(state()[:2])

    def other():
        assert first.wait(10)
        with gg.no_grad(), shared:
            second.set()
            thread_one.join()  # ends in between
        failures.append(state()[:2])

    thread_one, thread_other = threading.Thread(target=one), threading.Thread(target=other)
    thread_one.start()
    thread_other.start()
    thread_other.join()
    assert failures == [PLAIN[:2]] * 2
    assert state() == PLAIN


# Generators: a block in a generator holds for the caller, too, until the generator leaves it.


def stepping(block):
    with block():
        yield 1
        yield 2


@lasting
def test_a_generator_is_closed(block):
    steps = stepping(block)
    next(steps)
    with block():
        inside = state()[:2]
    assert state()[:2] == inside  # PyTorch does the same
    steps.close()
    assert state() == PLAIN


@blocks
def test_a_generator_is_exhausted_or_raises(block):
    for _ in stepping(block):
        pass
    assert state() == PLAIN
    steps = stepping(block)
    next(steps)
    with pytest.raises(KeyError):
        steps.throw(KeyError)
    assert state() == PLAIN


@lasting
def test_a_generator_is_dropped(block):
    steps = stepping(block)
    next(steps)
    del steps
    gc.collect()
    assert state() == PLAIN


@pytest.mark.parametrize("outer", LASTING.values(), ids=list(LASTING))
@lasting
def test_a_generator_outlives_the_block_that_it_began_in(block, outer):
    """Blocks end in the order they began in: the last one restores what was before the first."""
    with outer():
        steps = stepping(block)
        next(steps)
    next(steps)
    steps.close()
    assert state() == PLAIN


def test_two_generators_that_end_in_the_order_they_began_in():
    first, second, third = (stepping(b) for b in (gg.no_grad, gg.enable_grad, gg.detect_anomaly))
    for steps in (first, second, third):
        next(steps)
    second.close()
    first.close()
    assert state()[1]
    third.close()
    assert state() == PLAIN


@lasting
def test_a_decorated_generator_function_has_its_mode_in_its_steps_alone(block):
    @block()
    def steps():
        while True:
            yield state()[:3]

    with block():
        inside = state()[:3]
    made = steps()
    assert next(made) == inside
    assert state() == PLAIN
    assert next(made) == inside
    made.close()
    assert state() == PLAIN


def test_a_context_manager_made_of_a_generator():
    @contextlib.contextmanager
    def evaluation():
        with gg.no_grad(), gg.sync_guard():
            yield

    with evaluation():
        assert state()[:3] == (False, False, True)
    assert state() == PLAIN
    with pytest.raises(KeyError), evaluation():
        raise KeyError
    assert state() == PLAIN


# Async tasks.


def test_tasks_have_modes_of_their_own():
    async def work(block, index):
        seen = []
        for _ in range(3):
            with block() if index else contextlib.nullcontext():
                inside = state()[:5]
                await asyncio.sleep(0)
                assert state()[:5] == inside
                seen.append(inside)
            await asyncio.sleep(0)
            assert state()[:5] == PLAIN[:5]
        return seen

    async def main():
        works = [work(block, index) for block in BLOCKS.values() for index in range(2)]
        return await asyncio.gather(*works)

    for index, seen in enumerate(asyncio.run(main())):
        if index % 2 == 0:
            assert seen == [PLAIN[:5]] * 3
        elif index != 3:  # enable_grad, where it is enabled already
            assert all(one != PLAIN[:5] for one in seen)
    assert state() == PLAIN


def test_tasks_that_fail_or_are_cancelled():
    async def fail(block):
        with block():
            await asyncio.sleep(0)
            raise KeyError

    async def hang(block):
        with block():
            await asyncio.sleep(60)

    async def main():
        hanging = [asyncio.create_task(hang(block)) for block in BLOCKS.values()]
        results = await asyncio.gather(*map(fail, BLOCKS.values()), return_exceptions=True)
        assert [type(result) for result in results] == [KeyError] * len(BLOCKS)
        assert state()[:5] == PLAIN[:5]
        for task in hanging:
            task.cancel()
        await asyncio.gather(*hanging, return_exceptions=True)
        assert state() == PLAIN

    asyncio.run(main())
    assert state() == PLAIN


def test_a_task_begins_with_the_modes_of_the_one_that_made_it_and_changes_none_of_them():
    async def child():
        assert not gg.is_grad_enabled()
        gg.set_grad_enabled(True)
        with gg.detect_anomaly():
            await asyncio.sleep(0)
        assert gg.is_grad_enabled()

    async def main():
        with gg.no_grad():
            task = asyncio.create_task(child())
            await asyncio.sleep(0)
            assert not gg.is_grad_enabled()
        await task
        assert state() == PLAIN

    asyncio.run(main())


def test_an_asynchronous_generator_that_the_loop_finishes():
    """What is left open is closed in another task, where there is nothing to restore."""

    async def steps():
        with gg.no_grad():
            yield 1
            yield 2

    async def consume():
        async for _ in steps():
            break

    async def main():
        with gg.enable_grad():
            await asyncio.create_task(consume())
            gc.collect()
            await asyncio.sleep(0)
            assert state() == PLAIN

    asyncio.run(main())
    assert state() == PLAIN


@pytest.mark.parametrize("outer", [contextlib.nullcontext, gg.enable_grad, gg.no_grad])
def test_an_asynchronous_generator_that_is_left_before_its_end(outer):
    """Its no_grad holds while it runs: neither between its steps nor after the last."""
    inside = []

    async def steps():
        with gg.no_grad():
            inside.append(gg.is_grad_enabled())
            await asyncio.sleep(0)
            inside.append((gg.ones(1, requires_grad=True) * 2).requires_grad)
            yield 1
            yield 2

    async def main():
        x = gg.ones(1, requires_grad=True)
        with outer():
            mode = gg.is_grad_enabled()
            async for _ in steps():
                assert gg.is_grad_enabled() == mode
                assert (x * 2).requires_grad == mode
                break
            assert (x * 2).requires_grad == mode
            gc.collect()
            await asyncio.sleep(0.01)
            assert (x * 2).requires_grad == mode
            with gg.detect_anomaly():
                assert (x * 2).requires_grad == mode
        assert state() == PLAIN
        assert (x * 2).requires_grad

    asyncio.run(main())
    assert inside == [False, False]
    assert state() == PLAIN


@lasting
def test_a_block_that_ends_in_another_context_restores_nothing_there(block):
    shared = block()
    elsewhere = contextvars.copy_context()
    elsewhere.run(shared.__enter__)
    with gg.no_grad():
        shared.__exit__(None, None, None)
        assert not gg.is_grad_enabled()
    assert state() == PLAIN


def test_decorated_coroutines():
    @gg.no_grad()
    async def quiet():
        await asyncio.sleep(0)
        return gg.is_grad_enabled()

    @gg.sync_guard()
    async def guarded():
        await asyncio.sleep(0)
        return state()[2]

    async def main():
        return await asyncio.gather(quiet(), guarded())

    assert asyncio.run(main()) == [False, True]
    assert state() == PLAIN


def test_the_walk_in_a_thread_of_another_mode():
    x = gg.tensor([2.0], requires_grad=True)
    loss = (x**3).sum()
    grads = []

    def work():
        with gg.no_grad():
            grads.append(gg.gradients(loss, [x], create_graph=True)[0])

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert grads[0].requires_grad
    np.testing.assert_allclose(grads[0].detach().numpy(), [12.0])


# Interrupts: whatever is called, it leaves the variables of this thread as they were.


def _checkpointed(x):
    return gg.checkpoint(lambda x: x * x)(x).sum()


def _turn(carry, x):
    return carry * x, None


WORK = {
    "backward": lambda x: (x * x).sum().backward(create_graph=True),
    "hessian": lambda x: gg.hessian(lambda x: (x**3).sum())(x.detach()),
    "jvp": lambda x: gg.jvp(lambda x: x * x, (x.detach(),), (x.detach(),)),
    "checkpoint": lambda x: _checkpointed(x).backward(),
    "checkpoint, recorded": lambda x: _checkpointed(x).backward(create_graph=True),
    "custom_op": lambda x: gg.grad(
        gg.custom_op(lambda xp, x: xp.sum(x * x), lambda xp, g, y, x: 2 * g * x)
    )(x.detach()),
    "device": lambda x: _on_device(),
    "level of vmap": lambda x: gg.vmap(lambda x: x)(x.detach()),
    "vmap": lambda x: gg.vmap(gg.grad(lambda x: x * x))(x.detach()),
    "recording": lambda x: record(lambda x: x * 2, *tree.flatten(((x,), {}))),
    "compile": lambda x: gg.compile(lambda x: gg.scan(_turn, 1.0, x)[0].backward())(x),
}
# Compiling takes many lines.
STRIDES = {"compile": 997, "recording": 1, "level of vmap": 1}


def _on_device():
    with gg.device("sim:1"):
        return (gg.ones(3) * 2).sum()


@pytest.mark.parametrize("name", WORK)
def test_an_interrupt_in_any_work_leaves_no_mode(name):
    work = WORK[name]

    def variables():
        values = {}
        for variable, value in contextvars.copy_context().items():
            if variable.name.startswith("gpugrad"):
                values[variable.name] = (
                    bool(value) if variable is modes.recording else blocks_.now(value)
                )
        return values

    work(gg.ones(3, requires_grad=True))  # so that each variable has a value
    with gg.enable_grad(), gg.device("cpu"), gg.autocast(enabled=False):
        pass
    before = variables()

    def check(made):
        with gg.enable_grad(), gg.device("cpu"), gg.autocast(enabled=False):
            pass
        assert variables() == before
        if detours.active:  # the next op ends what an interrupt has left
            gc.collect()
            gg.ones((2, 2)) @ gg.ones((2, 2))
        assert not detours.active

    interrupted_everywhere(
        lambda: gg.ones(3, requires_grad=True), work, check, STRIDES.get(name, 13)
    )
