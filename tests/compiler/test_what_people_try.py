"""What people try with a compiled function: models, copies, threads, containers, generators."""

import copy
import pickle
import threading

import numpy as np
import pytest

import gpugrad as gg
from gpugrad import nn

pytestmark = pytest.mark.usefixtures("by_numpy")


@gg.compile
def doubled(x):
    return x * 2


def test_a_compiled_model_is_asked_what_a_model_is_asked():
    model = nn.Sequential(nn.Linear(3, 2), nn.Dropout(0.5))
    compiled, x = gg.compile(model), gg.ones((2, 3))
    optimizer = gg.optim.SGD(compiled.parameters(), lr=0.1)
    compiled(x).sum().backward()
    optimizer.step()
    compiled.eval()
    assert not model.training
    assert compiled(x).tolist() == model(x).tolist()
    assert list(compiled.state_dict()) == ["0.weight", "0.bias"]
    compiled.load_state_dict({name: 0 * value for name, value in model.state_dict().items()})
    assert compiled(x).tolist() == [[0.0, 0.0]] * 2
    with pytest.raises(AttributeError):
        compiled.absent
    with pytest.raises(gg.errors.DTypeError, match="Pass the model itself, and compile=True"):
        gg.Trainer(compiled, optimizer, nn.MSELoss())


def test_copies_compile_anew():
    model, x = nn.Linear(3, 2), gg.ones((1, 3))
    compiled = gg.compile(model)
    compiled(x)
    copies = (copy.deepcopy(compiled), pickle.loads(pickle.dumps(compiled)))
    with gg.no_grad():
        model.weight *= 2
    for one in copies:
        assert type(one) is type(compiled)
        assert one(x).tolist() != compiled(x).tolist()
    assert pickle.loads(pickle.dumps(doubled)) is doubled
    shallow = copy.copy(gg.compile(model, strict=False))
    assert shallow(x).tolist() == compiled(x).tolist()


def test_threads_that_share_a_model_wait_for_recordings():
    model, wrong = nn.Linear(3, 1), []
    expected = [model(gg.ones((n, 3))).sum().item() for n in (1, 2)]
    compiled = gg.compile(lambda x: model(x).sum())

    def work(n):
        try:
            for _ in range(30):
                assert compiled(gg.ones((n, 3))).item() == pytest.approx(expected[n - 1])
        except Exception as error:  # noqa: BLE001  of another thread
            wrong.append(error)

    threads = [threading.Thread(target=work, args=(n,)) for n in (1, 2, 1, 2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong
    assert compiled.report().count("program ") == 2


def append(xs):
    xs.append(xs[0] * 2)
    return xs[0]


def swap(xs):
    xs[0], xs[1] = xs[1], xs[0]


def put(xs):
    xs["y"] = xs["x"] * 2


@pytest.mark.parametrize(
    ("function", "given"),
    [(append, [1.0]), (append, [gg.ones(2)]), (swap, [np.ones(2), np.zeros(2)]),
     (put, {"x": gg.ones(2)})],
)  # fmt: skip
def test_a_container_that_a_function_changes_is_refused(function, given):
    before = copy.copy(given)
    compiled, lenient = gg.compile(function), gg.compile(function, strict=False)
    for _ in range(2):
        with pytest.raises(gg.CompileError, match="changes a list, a dict .* Return what is new"):
            compiled(given)
        assert len(given) == len(before)
    function(before)
    lenient(given)
    assert str(given) == str(before)


def test_the_arrays_in_a_container_may_change():
    @gg.compile
    def add(xs):
        xs[0] += 1

    tensors, arrays = [gg.ones(2)], [np.ones(2)]
    for _ in range(2):
        add(tensors)
        add(arrays)
    assert tensors[0].tolist() == arrays[0].tolist() == [3.0, 3.0]


def later(x):
    yield x


async def awaited(x):
    return x


@pytest.mark.parametrize("function", [later, awaited])
def test_what_computes_later_is_refused(function):
    with pytest.raises(gg.errors.DTypeError, match="computes nothing yet"):
        gg.compile(function)
    given = function(gg.ones(2))
    with pytest.raises(gg.CompileError, match=r"the result\['a'\] is a .*, which can be used once"):
        gg.compile(lambda: {"a": given})()
    given.close()


def test_only_functions_and_models_are_compiled():
    for wrong in (3, nn.Linear):
        with pytest.raises(gg.errors.DTypeError, match="expected a function or a model, got"):
            gg.compile(wrong)


def test_what_was_kept_from_a_recording_says_so_where_it_is_printed():
    kept = []

    @gg.compile
    def function(x):
        kept.append(x * 2)
        return x

    function(gg.ones(2))
    with pytest.raises(gg.CompileError, match="call that has ended"):
        str(kept[0])
