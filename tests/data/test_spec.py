"""What a task says when the data has not the field that it needs."""

import pytest

from lepton_jax.data.spec import DataSpec, FieldSpec
from lepton_jax.errors import UserError

TOKENS = {"tokens": FieldSpec((40,), "int32"), "length": FieldSpec((), "int32")}
NUMBER, IMAGE = FieldSpec((), "int32"), FieldSpec((8, 8, 1), "uint8")


def spec(fields, columns=(), classes=("no", "yes")):
    return DataSpec(
        fields, classes, origin="tables of a.csv", column_keys=("label",), columns=columns
    )


@pytest.mark.parametrize(
    ("data", "said"),
    [
        pytest.param(
            spec(TOKENS, ("text", "sentiment")),
            "The columns of tables of a.csv are 'text', 'sentiment'; "
            "data.source.label = 'text' or 'sentiment' names the column",
            id="a column of another name, left behind as a text",
        ),
        pytest.param(
            spec(TOKENS, ("text", " label")),
            r"' label' names the column \(did you mean ' label'\?\)",
            id="a blank before the name",
        ),
        pytest.param(
            spec({"image": IMAGE, "y": NUMBER}, ("image", "y")),
            "data.source.label = 'y' names the column",
            id="a number of another name",
        ),
        pytest.param(
            spec({"image": IMAGE, "y": NUMBER}),
            "data.source.label = 'y' names the column",
            id="a source that does not tell its columns",
        ),
        pytest.param(
            spec({"label": FieldSpec((1,), "int32")}), r"give labels\[:, 0\]", id="[N, 1]"
        ),
        pytest.param(spec({"label": FieldSpec((3,), "float32")}), r"argmax\(-1\)", id="one-hot"),
        pytest.param(
            spec({"label": FieldSpec((2, 2), "int32")}), "one whole number an example", id="a map"
        ),
        pytest.param(
            spec({"label": FieldSpec((), "float32")}), r"labels\.astype\(int\)", id="floats"
        ),
        pytest.param(
            spec({"label": FieldSpec((), "bool")}), r"of integers.*label bool \[\]", id="bools"
        ),
        pytest.param(
            spec({"label": NUMBER}, classes=("cat",)),
            "at least two named classes; tables of a.csv has 1, 'cat'",
            id="one class",
        ),
        pytest.param(
            spec({"label": NUMBER}, classes=()),
            "two named classes; tables of a.csv has 0",
            id="no classes",
        ),
    ],
)
def test_labels_that_are_no_classes_are_refused_with_the_cure(data, said):
    with pytest.raises(UserError, match=said) as error:
        data.require_classes("text classification")
    assert "\n" not in str(error.value)


def test_a_field_of_nearly_the_name_is_named():
    with pytest.raises(
        UserError, match=r"has images uint8 \[8, 8, 1\] \(did you mean 'images'\?\)"
    ):
        DataSpec({"images": IMAGE}, ()).require("image classification", "image", 3)


def test_a_number_of_the_data_names_a_class():
    assert spec({"label": NUMBER}).require_classes("x") == ("no", "yes")


@pytest.mark.parametrize(
    ("other", "said"),
    [
        (spec({"label": NUMBER}), "the fields are label int32 [], expected image uint8 [8, 8, 1]"),
        (
            spec({"image": IMAGE}, classes=tuple(map(str, range(1000)))),
            "the classes are '0', '1', '2', '3', '4', ... (1,000 in all), expected 'no', 'yes'",
        ),
        (spec({"image": IMAGE}, classes=()), "the classes are none, expected 'no', 'yes'"),
    ],
)
def test_two_data_sets_differ_in_a_few_words(other, said):
    assert other.difference(spec({"image": IMAGE})) == said


def test_of_many_columns_a_few_are_listed():
    with pytest.raises(UserError, match=r"are 'c0', .*'c11', \.\.\. \(1,000 in all\)") as error:
        spec(TOKENS, tuple(f"c{i}" for i in range(1000))).require_classes("x")
    assert len(str(error.value)) < 500
