"""A report as a table, as Markdown, as JSON and as a drawing."""

import json
from xml.etree import ElementTree as ET

import pytest

from triptych.bench.cells import header, measured, quantity, remarks, rows
from triptych.bench.floor import Limits
from triptych.bench.markdown import markdown
from triptych.bench.measurement import Measure, Result
from triptych.bench.plot import plot
from triptych.bench.report import Report
from triptych.bench.spread import spread_of


@pytest.fixture
def report():
    decode = Result(Measure("decode", "decode at 32", "tokens/s"), floor=100.0)
    decode.values = {"own": [40.0, 50.0, 60.0, 50.0, 45.0], "<peer>": [20.0, 25.0, 30.0, 25.0, 30]}
    decode.nodes = {"MatMulNBits": 0.7, "Add": 0.2, "Mul": 0.06, "Sub": 0.04}
    load = Result(Measure("load", "load", "s"), {"own": [0.5]}, missing={"<peer>": "it is asleep"})
    runtimes = {"own": "triptych 1", "<peer>": "other 2"}
    notes = ["load: <peer>: it is asleep"]
    return Report("sketch", 2, Limits(25e9, 200e9, 800e9), runtimes, [decode, load], notes)


def test_rows_have_values_floors_and_ratios_with_their_interval(report):
    decode, load = rows(report)
    assert decode == [
        "decode at 32",
        "50 tok/s (40 to 60)",
        "50%",
        "25 tok/s (20 to 30)",
        "2.00 x (1.50 to 2.00)",
    ]
    assert load == ["load", "500 ms (500 to 500)", "", "none", ""]
    assert len(header(report)) == len(decode)


@pytest.mark.parametrize(
    ("value", "unit", "text"),
    [
        (0.0873, "s", "87.3 ms"),
        (1.234, "s", "1.23 s"),
        (57.14, "tokens/s", "57.1 tok/s"),
        (12345.0, "tokens/s", "12,345 tok/s"),
        (1.39e9, "bytes", "1.39 GB"),
        (147e6, "bytes", "147 MB"),
    ],
)
def test_quantities_have_three_figures_and_a_unit(value, unit, text):
    assert quantity(value, unit) == text


def test_a_range_that_leaves_its_unit_says_so():
    assert measured(spread_of([0.9, 1.2, 1.3]), "s") == "1.20 s (900 ms to 1.30)"


def test_remarks_tell_machine_runtimes_and_the_interval(report):
    text = "\n".join(remarks(report))
    assert "reads 25.0 GB/s, multiplies 200 GFLOP/s in float32 and 800 GOP/s in int8" in text
    assert "own: triptych 1" in text
    assert "at least 94%" in text
    assert "decode at 32, time within the graphs: MatMulNBits 70%, Add 20%, Mul 6%\n" in text
    assert "it is asleep" in text


def test_markdown_is_a_table_with_remarks(report):
    lines = markdown(report).splitlines()
    assert lines[0] == "| measure | own | of the floor | <peer> | better by |"
    assert lines[1] == "| --- | --- | --- | --- | --- |"
    assert lines[2].startswith("| decode at 32 | 50 tok/s")
    assert all(line.startswith("- ") for line in lines[5:] if line)


def test_json_has_every_value(report):
    found = json.loads(json.dumps(report.to_dict()))
    decode = found["results"][0]
    assert decode["contenders"]["own"]["values"] == [40.0, 50.0, 60.0, 50.0, 45.0]
    assert (decode["floor"], decode["of_the_floor"]) == (100.0, 0.5)
    assert decode["ratios"]["<peer>"]["low"] == 1.5
    assert found["machine"]["threads"] == 2
    assert found["results"][1]["missing"] == {"<peer>": "it is asleep"}


def test_the_better_one_has_the_longest_bar(report):
    drawing = ET.fromstring(plot(report))  # of our own making
    space = "{http://www.w3.org/2000/svg}"
    widths = [float(bar.get("width")) for bar in drawing.iter(f"{space}rect")][1:]
    # Decoding: twice as fast is twice as long. Loading: the only one.
    assert widths == [330.0, 165.0, 330.0]
    assert any("<peer>" in (text.text or "") for text in drawing.iter(f"{space}text"))
