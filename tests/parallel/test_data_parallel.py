"""`gpugrad.parallel.DataParallel`, sharded optimizers, synchronised layers and shared batches.

One start of mpiexec for each number of ranks runs all checks of training_ranks.py.
"""

import json
import re
import shutil

import numpy as np
import pytest
import training_ranks
from devices import DEVICES
from gpu import needs_usual_stand_in
from mpi import mpiexec, needs_mpi
from repository import ROOT

ROWS = 14  # of the data set that is shared
# What one and four ranks do.
FEW = ("absent", "equivalence", "order", "divided", "training", "models")
ON_HOST = ["cpu", *(["sim"] if "sim" in DEVICES else [])]
ALL = (*FEW, "optimizers", "bits", "names", "buffers", "draws", "states", "refusals")

pytestmark = needs_mpi


def start(ranks, folder, *checks, device="cpu"):
    return mpiexec(ranks, "-W", "error", training_ranks.__file__, folder, device, *checks)


def found_by(started):
    """What rank 0 has found."""
    output = started.communicate(timeout=240)[0]
    assert started.returncode == 0, output
    return json.loads(output.splitlines()[-1])


@pytest.fixture(scope="module")
def two(tmp_path_factory):
    """Two ranks, which leave checkpoints of a training that was stopped."""
    folder = tmp_path_factory.mktemp("two")
    started = start(2, folder, *ALL, "stopping", device=",".join(ON_HOST))
    return found_by(started) | {"folder": folder}


@pytest.fixture(scope="module")
def others(two, tmp_path_factory):
    """One rank and four, at the same time, which go on from the checkpoints of two."""
    started = {}
    for ranks, checks in ((1, ALL), (4, FEW)):
        folder = tmp_path_factory.mktemp("others") / "checkpoints"
        shutil.copytree(two["folder"], folder)
        started[ranks] = start(ranks, folder, *checks, "going_on")
    return {ranks: found_by(one) for ranks, one in started.items()}


@pytest.fixture(scope="module")
def one(others):
    return others[1]


@pytest.fixture(scope="module")
def four(others):
    return others[4]


@pytest.mark.parametrize("name", ["attention", "recurrent", "convolutional"])
def test_models_of_all_kinds_train_as_in_one_process(name, one, two, four):
    expected = one["models"][name]
    for found in (one, two, four):
        for divided in ("", ", divided"):
            got = found["models"][name + divided]
            np.testing.assert_allclose(got, expected, rtol=0, atol=1e-12)


def test_optimizers_of_all_kinds_can_be_divided(one, two):
    for found in (one, two):
        assert len(found["optimizers"]) > 12
        assert max(found["optimizers"].values()) < 1e-12


SHARDED = {
    "sharded": "accumulated",
    "sharded, accumulated": "accumulated",
    "sharded, clipped": "clipped",
    "sharded, largest": "largest",
    "sharded, scaled": "scaled",
}


@pytest.mark.parametrize("name", ["plain", "accumulated", "normalized", "clipped", *SHARDED])
def test_training_is_that_of_one_process_with_the_whole_batch(name, one, two, four):
    expected = np.array(one["equivalence"][name])
    for found in (two, four):
        np.testing.assert_allclose(found["equivalence"][name], expected, rtol=0, atol=1e-12)
        assert found["equivalence"][f"{name} is the same"]


def test_a_rank_without_rows_does_not_change_the_statistics(one, two, four):
    for found in (one, two, four):
        got, expected = found["absent"]["statistics"], one["absent"]["statistics"]
        np.testing.assert_allclose(got, expected, rtol=0, atol=1e-12)
        assert found["absent"]["finite"]


@pytest.mark.parametrize("name", SHARDED)
def test_a_divided_optimizer_makes_the_same_steps(name, one, two, four):
    """With clipping, and where a scaler skips a step since one rank's gradient is infinite."""
    for found in (one, two, four):
        settings = found["equivalence"]
        np.testing.assert_allclose(settings[name], settings[SHARDED[name]], rtol=0, atol=1e-12)


def test_a_step_of_a_divided_optimizer_sends_as_many_bytes_as_one_that_is_not(two, four):
    for found in (two, four):
        whole, divided = found["divided"]["bytes"]
        assert divided == pytest.approx(whole, rel=1e-12)
        assert found["divided"]["names"][0] == ["all_reduce"]
    assert two["divided"]["names"][1] == ["broadcast", "reduce"]  # each has one bucket
    assert four["divided"]["names"][1] == ["all_gather", "broadcast", "reduce", "reduce_scatter"]


def test_nothing_is_copied_into_messages(one, two, four):
    """Neither gradients nor parameters: they lie where they are sent from, by rank too."""
    for found in (one, two, four):
        assert found["divided"]["copied"] == 0


def test_norms_are_those_of_the_gradients_of_all_ranks(one, two, four):
    for found in (one, two, four):
        for order in ("2", "3", "inf"):
            whole, divided = found["divided"][f"norm {order}"]
            assert divided == pytest.approx(whole, rel=1e-12)
        assert found["divided"]["there"] == found["divided"]["all"]
        assert found["divided"]["clipped"] == 1e-3


def test_a_gradient_of_another_rank_is_refused_in_a_sentence(two, four):
    for found in (two, four):
        said = found["divided"]
        assert f"the gradient of {said['name']} is on rank" in said["read"]
        assert "read a single gradient on its rank" in said["read"]
        assert said["shown"].startswith(f"<the gradient of {said['name']}, on rank")
        assert "before another pass" in said["twice"].lower()
        assert "its optimizer is divided" in said["another"]
        assert said["said"] == [said["not finite"]] * len(said["said"])
        assert "of all gradients is inf" in said["not finite"]


def test_deterministic_training_has_the_same_bits(two):
    assert two["bits"]["same"]


def test_names_are_those_of_the_model(two):
    assert two["names"]["state"]
    assert two["names"]["parameters"]
    assert not any(two["names"]["modes"])


def test_buffers_are_those_of_the_first_rank_and_constants_stay_untouched(two):
    assert two["buffers"] == {"differ before": True, "same after": True}


def test_dropout_differs_by_rank_and_what_is_drawn_outside_agrees(one, two):
    for found in (one, two):
        assert found["draws"] == {"different": True, "outside": True}


def test_each_sample_comes_once_an_epoch_in_one_order_for_any_number_of_ranks(one, two, four):
    whole = one["order"]["ranks"][0]["batches"]
    for found in (one, two, four):
        ranks = found["order"]["ranks"]
        for number, batch in enumerate(whole):
            parts = [rank["batches"][number] for rank in ranks]
            weights = [rank["weights"][number] for rank in ranks]
            counted = [row for rows, weight in zip(parts, weights) if weight for row in rows]
            assert counted == batch
            shares = [len(rows) * (weight > 0) * len(ranks) for rows, weight in zip(parts, weights)]
            assert weights == [share / len(batch) for share in shares]
        epoch = whole[: len(whole) // 2]
        assert sorted(row for batch in epoch for row in batch) == list(range(ROWS))


def test_the_place_in_the_data_is_the_same_for_any_number_of_ranks(one, two, four):
    state = one["order"]["ranks"][0]["state"]
    for found in (one, two, four):
        assert all(rank["state"] == state and rank["same"] for rank in found["order"]["ranks"])


def test_the_state_of_a_sharded_optimizer_is_divided_and_whole_in_a_file(one, two):
    for found in (one, two):
        states = found["states"]
        assert states["kept"] == states["whole"]  # all parameters, each on one rank
        assert states["exact"]
        assert states["repr"]
    assert two["states"]["bytes"] == one["states"]["bytes"]


@pytest.mark.parametrize(
    ("name", "parts"),
    [
        ("shape", ["ParallelError", "rank 1", "weight", "(4, 3)", "(2, 3)"]),
        ("dtype", ["ParallelError", "rank 1", "float64", "float32"]),
        ("class", ["ParallelError", "rank 1", "a ReLU", "a Tanh"]),
        ("unused", ["GradientError", "rank 0", "1.weight, 1.bias", "requires_grad_(False)"]),
        ("recorded", ["GradientError", "weight", "create_graph"]),
        ("compile", ["CompileError", "no_sync", "average_gradients"]),
    ],
)
def test_what_cannot_be_is_said_in_a_sentence(name, parts, two):
    sentence = two["refusals"][name]
    assert all(part in sentence for part in parts), sentence


def test_a_pass_after_an_error_and_a_compiled_one_are_averaged(two):
    assert two["refusals"]["after"]
    assert two["refusals"]["compiled"] == [[6.0] * 3] * 2  # (4 + 2 * 4) / 2


@pytest.mark.parametrize("name", ["plain", "compiled", "shard", "accumulated"])
def test_a_trainer_gives_the_same_for_any_number_of_ranks(name, one, two, four):
    """Also with a last batch that has fewer rows than there are ranks."""
    expected = one["training"][name]
    for found in (two, four) if name == "plain" else (two,):
        assert_alike(found["training"][name], expected)


def assert_alike(found, expected):
    np.testing.assert_allclose(found["values"], expected["values"], rtol=0, atol=1e-12)
    for record, other in zip(found["history"], expected["history"], strict=True):
        assert record == pytest.approx(other, abs=1e-12)


def test_what_one_rank_wants_all_do(two, four):
    for found in (two, four):
        *innocent, last = found["training"]["stopped"]
        assert last == [3, "enough"]
        assert all(rank == [3, "another rank has stopped"] for rank in innocent)


def test_sigterm_on_one_rank_saves_and_stops_all_and_the_rest_has_the_same_bits(two):
    assert two["stopping"]["codes"] == [[[143, 4], [143, 4]]] * 2
    assert two["stopping"]["same"] == [True, True]


def test_a_training_goes_on_with_another_number_of_ranks(one, four):
    for found in (one, four):
        assert_alike(found["going_on"], one["training"]["plain"])


def test_digits_train_in_parallel():
    started = mpiexec(2, ROOT / "examples" / "digits.py", "--parallel", "--epochs", 2)
    lines = started.communicate(timeout=120)[0].splitlines()
    assert started.returncode == 0, lines
    assert len([line for line in lines if line.startswith("epoch ")]) == 2  # of the first rank
    assert float(lines[-1].removeprefix("test accuracy: ").rstrip("%")) > 80


@pytest.mark.parametrize("device", [device for device in DEVICES if device != "cpu"])
def test_other_devices_train_alike(device, tmp_path, one, two):
    checks = [check.__name__ for check in training_ranks.ON_ALL_DEVICES]
    found = (
        two[device] if device in ON_HOST else found_by(start(2, tmp_path, *checks, device=device))
    )
    for name in ("plain", "accumulated", "normalized", "sharded"):
        np.testing.assert_allclose(
            found["equivalence"][name], one["equivalence"][name], rtol=0, atol=1e-12
        )
    for name, result in one["training"].items():
        if name != "stopped":
            assert_alike(found["training"][name], result)
    assert found["buffers"]["same after"]
    assert found["draws"]["different"]
    assert found["states"]["exact"]


@needs_usual_stand_in
def test_gradients_and_parameters_travel_on_gpus_as_they_lie(tmp_path):
    """Without a kernel or a copy more than the model alone; NCCL itself divides by the ranks."""
    alone, *others = found_by(start(2, tmp_path, "launched", device="cuda"))["launched"]
    kernels, copies, calls = alone
    assert calls == {}
    for launches, number, _ in others:
        assert launches.items() - kernels.items() <= {("update", launches["update"])}
        assert launches["update"] <= kernels["update"]
        assert number == copies
    assert [calls for *_, calls in others] == [
        {"ncclAllReduce": 6},
        {"ncclReduce": 6, "ncclBroadcast": 6},
    ]


# What rank 1 does, and what is said.
FAULTS = {
    "unused": "rank 1 has raised .*GradientError: DataParallel: on rank 1 the loss does not depend "
    "on 1.weight, 1.bias",
    "graph": "rank 1 has raised .*GradientError: DataParallel: on rank 1 the loss does not depend "
    "on 0.weight, 0.bias",
    "steps": "rank 0: all_reduce .*the gradients of .*; rank 1: barrier",
}


@pytest.fixture(scope="module")
def said():
    """By fault, the status and the output of two ranks, all at the same time."""
    started = {fault: mpiexec(2, training_ranks.__file__, "faults", fault) for fault in FAULTS}
    return {
        fault: (one.communicate(timeout=120)[0], one.returncode) for fault, one in started.items()
    }


@pytest.mark.parametrize("fault", FAULTS)
def test_a_rank_that_does_something_else_is_named(fault, said):
    output, status = said[fault]
    assert status != 0
    assert "finished" not in output
    assert re.search(FAULTS[fault], output), output
