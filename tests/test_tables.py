"""`TableEncoder`: what becomes of numbers, categories, missing values, and of what is none."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import gpugrad as gg
from gpugrad.data import TableEncoder


def encoded(train, other, **options):
    """The features of other rows by name, as lists."""
    encoder = TableEncoder(**options).fit(train)
    features = encoder.transform(other)
    assert features.dtype == np.float32
    assert features.shape == (len(next(iter(other.values()))), len(encoder.feature_names))
    return dict(zip(encoder.feature_names, features.T.tolist(), strict=True))


def test_numbers_are_normalized_by_the_rows_for_training():
    found = encoded({"a": ["1", " 3 ", "1e0", "3"]}, {"a": ["2", "5", "", "NA", "1000"]})
    assert found == {"a": [0, 3, 0, 0, 10]}  # nothing was missing in training, and 10 is the bound
    found = encoded({"a": [1, 3, None]}, {"a": [math.nan, 4]})
    assert found == {"a": [0, 2], "a is missing": [1, 0]}


@pytest.mark.parametrize("scale", [1e-310, 1e-200, 1.0, 1e200, 8e307])
def test_numbers_of_any_size_are_normalized(scale):
    found = encoded({"a": [scale, 2 * scale]}, {"a": [scale, 2 * scale, -1e308, 1.5 * scale]})
    np.testing.assert_allclose(found["a"][:2], [-1, 1], atol=1e-5)
    assert np.isfinite(found["a"]).all()


def test_categories():
    train = {"a": ["x", "y", "x", "", "z", "x", "y"]}
    found = encoded(train, {"a": ["x", "y", "z", "new", ""]})
    assert found == {
        "a is x": [1, 0, 0, 0, 0],
        "a is y": [0, 1, 0, 0, 0],
        "a is another": [0, 0, 1, 1, 0],
        "a is missing": [0, 0, 0, 0, 1],
    }
    # What was not there in training has no weight that was trained.
    found = encoded({"a": ["x", "x", "y", "y"]}, {"a": ["y", "new", ""]})
    assert found == {"a is x": [0, 0, 0], "a is y": [1, 0, 0]}
    found = encoded(train, {"a": ["x", "y"]}, max_categories=1)
    assert found == {"a is x": [1, 0], "a is another": [0, 1], "a is missing": [0, 0]}


def test_numbers_that_are_codes():
    train = {"a": [1, 2, 2, 1], "b": np.array([7.0, math.nan, 7.0, 8.5])}
    found = encoded(train, train, categories=["a", "b"])
    assert found["a is 1"] == [1, 0, 0, 1]
    assert found["b is 7"] == [1, 0, 1, 0]
    assert found["b is missing"] == [0, 1, 0, 0]


def test_what_says_nothing_is_left_out():
    encoder = TableEncoder().fit({
        "id": ["p", "q", "r"], "one": [5, 5, 5], "word": ["w", "w", "w"], "none": ["", None, "NA"],
        "a": [1, 2, 3], "gaps": [4, None, 4],
    })  # fmt: skip
    assert encoder.left_out == {
        "id": "a different text in each row",
        "one": "one value in all rows",
        "word": "one value in all rows",
        "none": "missing values alone",
    }
    assert encoder.feature_names == ["a", "gaps", "gaps is missing"]
    assert encoder.columns == ["a", "gaps"]
    assert encoder.transform({"a": [2], "gaps": [4]}).tolist() == [[0, 0, 0]]
    with pytest.raises(gg.ArgumentError, match="no column says anything: 'a' has one value"):
        TableEncoder().fit({"a": [1, 1]})


def test_text_among_numbers_is_told_with_its_row():
    column = [*map(str, range(30)), "1O", "5"]
    with pytest.raises(
        gg.FileFormatError, match="column 'a' has numbers, but '1O' in row 30. Corr"
    ):
        TableEncoder().fit({"a": column})
    with pytest.raises(gg.FileFormatError, match="but 'inf' in row 41"):
        TableEncoder().fit({"a": ["inf", *column[:30]]}, rows=range(41, 72))
    encoder = TableEncoder().fit({"a": column[:30]})
    with pytest.raises(gg.FileFormatError, match="'a' has numbers, but 'x' in row 1"):
        encoder.transform({"a": ["1", "x"]})
    assert "a is 5" in TableEncoder("a").fit({"a": column}).feature_names


def test_other_mistakes():
    encoder = TableEncoder()
    for call, message in (
        (lambda: encoder.transform({"a": [1]}), "call fit first"),
        (lambda: encoder.fit([[1, 2]]), "expected a dict of columns or a DataFrame, got list"),
        (lambda: encoder.fit({"a": [1], "b": [1, 2]}), "different lengths: {'a': 1, 'b': 2}"),
        (lambda: encoder.fit({"a": []}), "has no rows"),
        (lambda: encoder.fit({}), "has no rows"),
        (lambda: TableEncoder(["b"]).fit({"a": [1, 2]}), "the table has no column 'b', but 'a'"),
        (lambda: TableEncoder(max_categories=0), "must be a whole number of 1 or more, got 0"),
        (lambda: encoder.fit({"a": [1, 2]}).transform({"b": [1]}), "has no column 'a', but 'b'"),
    ):
        with pytest.raises(gg.GpugradError) as caught:
            call()
        assert message in str(caught.value)
    for state in ({}, {"columns": [{"name": "a"}]}, {"columns": 3}, None):
        with pytest.raises(ValueError, match="it is no state of one"):
            encoder.load_state_dict(state)


def test_a_state_is_saved_with_a_model(tmp_path):
    table = {"a": ["1", "", "2"], "b": ["x", "x", "y"]}
    encoder = TableEncoder().fit(table)
    gg.save({"encoder": encoder}, tmp_path / "e.safetensors")
    again = TableEncoder()
    again.load_state_dict(gg.load(tmp_path / "e.safetensors")["encoder"])
    np.testing.assert_array_equal(again.transform(table), encoder.transform(table))
    assert again.feature_names == encoder.feature_names


def test_a_data_frame_is_the_table_of_its_columns():
    pd = pytest.importorskip("pandas")
    frame = pd.DataFrame({"a": [1.0, None, 3.0], "b": ["x", "x", None], "c": [True, False, True]})
    frame["d"] = pd.Categorical(["p", "q", "p"])
    frame["e"] = pd.array([1, None, 2], dtype="Int64")
    frame.index = [9, 9, 9]
    texts = {name: ["" if pd.isna(v) else v for v in frame[name]] for name in "abcde"}
    texts["c"] = [1, 0, 1]
    ours, theirs = (TableEncoder().fit(table) for table in (texts, frame))
    assert ours.feature_names == theirs.feature_names
    np.testing.assert_array_equal(ours.transform(texts), theirs.transform(frame))


CELLS = st.one_of(
    st.text(max_size=3), st.sampled_from(["", "NA", "1", "2.5", "-1e300", "inf", "x"]), st.none(),
    st.floats(), st.integers(), st.booleans(),
)  # fmt: skip


@given(st.lists(CELLS, min_size=1, max_size=20), st.lists(CELLS, min_size=1, max_size=5))
@settings(max_examples=150, deadline=None)
def test_whatever_a_column_holds_it_gets_finite_features_or_a_sentence(train, other):
    try:
        encoder = TableEncoder().fit({"a": train, "b": range(len(train))})
        features = encoder.transform({"a": other, "b": [*range(len(other))]})
    except (gg.FileFormatError, gg.ArgumentError):
        return
    assert np.isfinite(features).all()
    assert np.abs(features).max() <= 10
