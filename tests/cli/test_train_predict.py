"""``gpugrad train`` and ``gpugrad predict``: from a table to a model to predictions."""

import csv
import io
import os
import shlex
import signal
import subprocess
import sys

import numpy as np
import pytest
from repository import ROOT

import gpugrad as gg
from gpugrad.cli import main
from gpugrad.training import EarlyStopping


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """An empty folder, in which the commands run."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def command(capsys):
    """A function that runs a command and returns its status, output and messages."""

    def run(line):
        status = main(shlex.split(line))
        return (status, *capsys.readouterr())

    return run


def write(path, columns):
    with open(path, "w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerow(columns)
        csv.writer(file).writerows(zip(*columns.values(), strict=True))


def mixed(rows=300, seed=0):
    """A table with numbers, categories and missing values, by which ``kind`` and ``y`` are told."""
    rng = np.random.default_rng(seed)
    a, b = rng.normal(size=(2, rows))
    city = rng.choice(["Paris", "Rome", "Oslo, N"], rows)
    y = 100 + 20 * a + 30 * (city == "Rome") + rng.normal(size=rows)
    absent = rng.random(rows) < 0.1
    return {
        "id": [f"row {i}" for i in range(rows)],
        "a": a.round(4),
        "b": ["" if missing else f"{value:.3f}" for value, missing in zip(b, absent)],
        "city": city,
        "y": y.round(3),
        "kind": np.where(y > 110, "high", "low"),
    }


def read(text):
    return list(csv.DictReader(io.StringIO(text)))


FAST = "--epochs 30 --lr 0.01 --hidden 16"


def test_numbers_are_predicted_from_numbers_categories_and_gaps(folder, command):
    write("data.csv", mixed())
    status, out, err = command(f"train data.csv --target y --exclude kind -o m {FAST}")
    assert (status, err) == (0, "")
    assert "column 'id' is left out: it has a different text in each row" in out
    assert "240 rows for training, 60 for validation; 3 columns, 6 features; 'y' is a number" in out
    error = float(out.partition("root mean square error ")[2].split()[0])
    assert error < 4  # always the mean: 24
    assert sorted(os.listdir()) == ["data.csv", "m"]

    new = mixed(50, seed=1)
    new["city"][:10] = "Atlantis"  # which was not there
    expected = new.pop("y")
    del new["kind"]
    write("new.csv", new)
    status, out, err = command("predict m new.csv --keep id,city")
    assert (status, err) == (0, "")
    found = read(out)
    assert list(found[0]) == ["id", "city", "predicted_y"]
    assert found[49]["id"] == "row 49"
    values = np.array([float(row["predicted_y"]) for row in found])
    assert np.abs(values - expected)[10:].mean() < 3
    assert np.isfinite(values).all()
    assert command("predict m new.csv --keep id,city -o -") == (0, out, "")
    assert command("predict m new.csv --keep id,city -o p.csv") == (0, "", "")
    assert (folder / "p.csv").read_text() == out


def test_classes_are_predicted_with_their_probabilities(folder, command, device):
    write("data.csv", mixed())
    line = f"train data.csv --target kind --columns a,city -o m {FAST} --device {device}"
    status, out, _ = command(line)
    assert status == 0
    assert "'kind' is 2 classes" in out
    assert float(out.partition("validation: accuracy ")[2].split()[0]) > 0.9
    write("new.csv", new := mixed(40, seed=1))
    status, out, _ = command(f"predict m new.csv --device {device}")
    found = read(out)
    assert list(found[0]) == ["predicted_kind", "probability_high", "probability_low"]
    assert np.mean([row["predicted_kind"] for row in found] == new["kind"]) > 0.85
    for row in found:
        probabilities = [float(row["probability_high"]), float(row["probability_low"])]
        assert sum(probabilities) == pytest.approx(1)
        assert (probabilities[0] > 0.5) == (row["predicted_kind"] == "high")


def test_the_task_is_decided_by_the_target(folder, command):
    rng = np.random.default_rng(0)
    x = rng.normal(size=60).round(3)
    grade = np.where(x > 0, "02", "1")
    write("t.csv", {"x": x, "grade": grade, "score": (x * 50).round(), "half": x.round() / 2})
    for target, options, expected in (
        ("grade", "", "'grade' is 2 classes"),
        ("grade", "--task regression", "'grade' is a number"),
        ("score", "", "'score' is a number"),
        ("half", "", "'half' is a number"),
        ("half", "--task classification", "'half' is "),
    ):
        line = f"train t.csv --target {target} --columns x --epochs 2 {options}"
        status, out, err = command(line)
        assert (status, err) == (0, "")
        assert expected in out
        if options:
            continue
        rows = read(command("predict model.safetensors t.csv")[1])
        if target == "grade":  # as the file writes them, in the order of the numbers
            assert list(rows[0])[1:] == ["probability_1", "probability_02"]


def test_one_seed_is_one_model(folder, command):
    write("data.csv", mixed(60))
    models = []
    for seed in (3, 3, 4):
        assert command(f"train data.csv --target y -o m --epochs 3 --seed {seed}")[0] == 0
        models.append((folder / "m").read_bytes())
    assert models[0] == models[1] != models[2]


def test_ctrl_c_stops_and_resume_goes_on_to_the_same_bits(folder, command, monkeypatch):
    write("data.csv", mixed(60))
    line = "train data.csv --target y -o m --epochs 6"
    assert command(line)[0] == 0
    whole = (folder / "m").read_bytes()
    (folder / "m").unlink()

    usual = EarlyStopping.on_epoch_end
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    with monkeypatch.context() as patch:

        def interrupted(self, trainer, record):
            usual(self, trainer, record)
            if record["epoch"] == 2:
                os.kill(os.getpid(), signal.SIGINT)

        patch.setattr(EarlyStopping, "on_epoch_end", interrupted)
        try:
            status, _, err = command(line)
        finally:
            signal.signal(signal.SIGINT, before)
    assert status == 130
    assert err == "stopped after step 4. The same command with --resume goes on\n"
    assert sorted(os.listdir()) == ["data.csv", "m.checkpoints"]
    for options, message in (
        ("", "m.checkpoints has a training that was interrupted. Go on with --resume, or remove"),
        ("--resume --lr 0.1", "the training in m.checkpoints had another lr"),
        ("--resume --seed 1", "the training in m.checkpoints had another seed, data"),
    ):
        status, _, err = command(f"{line} {options}")
        assert status == 2
        assert message in err
    assert command(f"{line} --resume")[0] == 0
    assert (folder / "m").read_bytes() == whole
    assert sorted(os.listdir()) == ["data.csv", "m"]


def test_two_ctrl_cs_save_nothing(folder, command, monkeypatch):
    def interrupted(self, trainer, record):
        raise KeyboardInterrupt

    write("data.csv", mixed(60))
    monkeypatch.setattr(EarlyStopping, "on_epoch_end", interrupted)
    status, _, err = command("train data.csv --target y -o m")
    assert (status, err) == (130, "stopped after step 2. Nothing is saved\n")
    assert os.listdir() == ["data.csv"]


GOOD = "x,z,y\n" + "".join(f"{i},{i % 3},{i / 2}\n" for i in range(20))

BAD_TABLES = {
    "": "t.csv is empty",
    "x,y\n": "t.csv: there are no rows",
    "x,z\n1,2\n": "t.csv has no column 'y', but 'x', 'z'",
    "x;y\n1;2\n": "t.csv has no column 'y', but 'x;y'. Is the delimiter ';'?",
    "y\n1\n": "t.csv: there is no column to predict 'y' from",
    ",y\n" + "1,2\n" * 20: "t.csv: there is no column to predict 'y' from",  # an index of pandas
    "x,x,y\n1,2,3\n": "t.csv has two columns with the name 'x'",
    "x,y\n1,2\n3,\n": "t.csv: 1 rows have a value of 'y'; expected 10 or more",
    "x,y\n" + "1,2\n1,3\n" * 20: "no column says anything: 'x' has one value in all rows",
    GOOD.replace("19,1,9.5", "19,1"): "t.csv, row 21 has 2 values, and there are 3 columns",
    GOOD.replace("19,1,9.5", "19,1,n0"): "target 'y': 'n0' in row 21 is no finite number. Correct",
    GOOD.replace("19,1,9.5", "i9,1,9.5"): "column 'x' has numbers, but 'i9' in row 21. Correct it",
    GOOD.replace("19,1,9.5", "19,1,inf"): "target 'y': 'inf' in row 21 is no finite number",
    "x,y\n" + "".join(f"{i},3.5\n" for i in range(20)): "target 'y' is 3.5 in all rows",
    "x,y\n" + "".join(f"{i},k\n" for i in range(20)): "target 'y' has one value in 20 rows",
    "x,y\n" + "".join(f"{i},k{i}\n" for i in range(20)): "target 'y' has 20 different values in 20",
    "x,y\n1,\xff\n": "t.csv is no text of utf-8",
    "PK\x03\x04\x14\x00\xe9": "t.csv is a ZIP archive, as a workbook of Excel is. Unpack it",
    "\x1f\x8b\x08": "t.csv is compressed by gzip. Unpack it",
    "\xff\xfex\0": "t.csv is text of utf-16. Save it as UTF-8, or pass that encoding",
    "x,y\n" + "1,2\ninf,3\n" * 20: "column 'x' has numbers, but 'inf' in row ",
}


@pytest.mark.parametrize("content", BAD_TABLES, ids=range(len(BAD_TABLES)))
def test_a_bad_table_gets_a_sentence(content, folder, command):
    (folder / "t.csv").write_bytes(content.encode("latin-1"))
    status, _, err = command("train t.csv --target y --epochs 1")
    assert status == 2
    assert err.startswith("gpugrad train: ")
    assert BAD_TABLES[content] in err
    assert err.count("\n") == 1
    assert os.listdir() == ["t.csv"]


def test_an_encoding_is_passed(folder, command):
    (folder / "t.csv").write_bytes(GOOD.replace("x,", "größe,").encode("utf-16"))
    line = "t.csv --encoding utf-16"
    status, _, err = command(f"train {line} --target y --epochs 1 -o m")
    assert (status, err) == (0, "")
    status, out, _ = command(f"predict m {line} --keep größe")
    assert (status, out.splitlines()[0]) == (0, "größe,predicted_y")
    assert "no encoding 'utf-99'" in command("predict m t.csv --encoding utf-99")[2]


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="there are no named pipes")
def test_a_pipe_is_refused(folder, command):
    os.mkfifo(folder / "pipe")
    status, _, err = command("train pipe --target y")
    assert (status, err.count("\n")) == (2, 1)
    assert "pipe is a pipe or a device, and a table is read more than once" in err


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("train absent.csv --target y", "gpugrad train: absent.csv: No such file or directory"),
        ("train . --target y", "gpugrad train: .: Is a directory"),
        ("train t.csv --target y -o no/m", "gpugrad train: no: there is no such folder"),
        ("train t.csv --target y -o .", "save: expected a file, this is a folder"),
        ("train t.csv --target y --exclude w", "t.csv has no column 'w', but 'x', 'z', 'y'"),
        ("train t.csv --target y --columns y", "there is no column to predict 'y' from"),
        ("train t.csv --target y --categories y", "--categories y: it is no input"),
        ("train t.csv --target y --delimiter ab", "delimiter must be one character, got 'ab'"),
        ("train t.csv --target y --device tpu", "'tpu' is not a device"),
        ("train t.csv --target y --resume", "--resume: there is no training in model.safetensors."),
        (
            "train t.csv --target y --lr 1e30 --epochs 2",
            "the loss is infinite or NaN after step 1. Take a smaller --lr than 1e+30",
        ),
        ("predict absent t.csv", "gpugrad predict: absent: No such file or directory"),
        ("predict t.csv t.csv", "gpugrad predict: load: t.csv"),
        ("predict other t.csv", "other holds no model that `gpugrad train` has saved"),
        ("predict m few.csv", "gpugrad predict: few.csv has no column 'z', but 'x'"),
        ("predict m t.csv --keep w", "t.csv has no column 'w'"),
        ("predict m bad.csv", "column 'x' has numbers, but 'one' in row 3"),
        ("predict m bad.csv -o p", "column 'x' has numbers, but 'one' in row 3"),
        ("predict m t.csv -o .", "save: expected a file, this is a folder"),
        ("predict m t.csv -o no/p", "gpugrad predict: no"),
    ],
)
def test_a_mistake_gets_a_sentence(line, message, folder, command):
    (folder / "t.csv").write_text(GOOD)
    (folder / "few.csv").write_text("x\n1\n")
    (folder / "bad.csv").write_text("x,z\n1,2\none,2\n")
    gg.save({"a": 1}, "other")
    if " m " in line:
        assert command("train t.csv --target y -o m --epochs 1")[0] == 0
    before = sorted(os.listdir())
    status, _, err = command(line)
    assert status == 2
    assert message in err
    assert "Traceback" not in err
    assert sorted(os.listdir()) == before


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ("", "the following arguments are required: --target"),
        ("--target y --epochs 0", "argument --epochs: 0 is not 1 or more"),
        ("--target y --epochs x", "argument --epochs: invalid whole value: 'x'"),
        ("--target y --validation 1", "argument --validation: 1 is not between 0 and 1"),
        ("--target y --lr nan", "argument --lr: nan is not a finite number above 0"),
        ("--target y --dropout 1", "argument --dropout: 1 is not from 0 to less than 1"),
        ("--target y --hidden 4,-1", "argument --hidden: -1 is not 1 or more"),
        ("--target y --task rank", "argument --task: invalid choice: 'rank'"),
    ],
)
def test_a_wrong_option_gets_a_sentence(options, message, folder, command, capsys):
    with pytest.raises(SystemExit) as exit:
        main(shlex.split(f"train t.csv {options}"))
    assert exit.value.code == 2
    assert message in capsys.readouterr().err


def test_a_damaged_model_gets_a_sentence(folder, command):
    (folder / "t.csv").write_text(GOOD)
    assert command("train t.csv --target y -o m --epochs 1")[0] == 0
    state = gg.load("m")
    for change, message in (
        ({"version": 2}, "m has version 2, this gpugrad reads 1. Install a newer one"),
        ({"target": {"name": "y"}}, "m is a damaged model"),
        ({"hidden": [3]}, "m is a damaged model"),
        ({"encoder": {}}, "m is a damaged model"),
    ):
        gg.save(state | change, "m")
        status, _, err = command("predict m t.csv")
        assert status == 2
        assert message in err


def test_an_odd_table_trains(folder, command):
    columns = {"x,1": [*range(12)], "b\nb": ["ü", ""] * 6, "y": ["a", "b"] * 6}
    write("t.csv", columns)
    (folder / "t.csv").write_bytes(b"\xef\xbb\xbf" + (folder / "t.csv").read_bytes() + b"\r\n\r\n")
    assert command("train t.csv --target y --hidden '' --epochs 2 --validation 0.01")[0] == 0
    status, out, _ = command("predict model.safetensors t.csv")
    assert status == 0
    assert len(read(out)) == 12


def test_parquet_is_read_as_csv_is(folder, command):
    parquet = pytest.importorskip("pyarrow.parquet")
    table = mixed(40)
    write("t.csv", table)
    columns = table | {"b": [float(value) if value else None for value in table["b"]]}
    parquet.write_table(sys.modules["pyarrow"].table(columns), "t.parquet")
    for name in ("csv", "parquet"):
        assert command(f"train t.{name} --target kind --exclude y -o {name} --epochs 2")[0] == 0
    assert (folder / "csv").read_bytes() == (folder / "parquet").read_bytes()
    outputs = {command(f"predict csv t.{name} --keep a")[1] for name in ("csv", "parquet")}
    assert len(outputs) == 1
    (folder / "bad.parquet").write_text(GOOD)
    status, _, err = command("predict csv bad.parquet")
    assert (status, "bad.parquet cannot be read as Parquet" in err) == (2, True)


def test_a_reader_that_stops_ends_it_quietly(folder, command):
    (folder / "t.csv").write_text(GOOD)
    assert command("train t.csv --target y -o m --epochs 1")[0] == 0
    with open("long.csv", "w") as file:
        file.write("x,z\n" + "1,2\n" * 30_000)
    process = subprocess.Popen(
        [sys.executable, "-m", "gpugrad", "predict", "m", "long.csv"],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout.readline() == "predicted_y\n"
    process.stdout.close()
    assert process.wait(timeout=120) == 1
    assert process.stderr.read() == ""
    process.stderr.close()


def test_the_defaults_are_as_good_as_a_linear_model(folder, command):
    datasets = pytest.importorskip("sklearn.datasets")
    for load, least in ((datasets.load_breast_cancer, 0.95), (datasets.load_diabetes, 0.35)):
        data = load()
        columns = {f"x{i}": column for i, column in enumerate(data.data.T)}
        rows = np.random.default_rng(0).permutation(len(data.target))
        for name, part in (("train.csv", rows[100:]), ("test.csv", rows[:100])):
            table = {**columns, "y": data.target}
            write(name, {key: values[part] for key, values in table.items()})
        assert command("train train.csv --target y")[0] == 0
        found = read(command("predict model.safetensors test.csv")[1])
        values = np.array([float(row["predicted_y"]) for row in found])
        truth = data.target[rows[:100]]
        if least > 0.9:
            assert (values == truth).mean() >= least
        else:
            assert 1 - ((values - truth) ** 2).mean() / truth.var() > least
