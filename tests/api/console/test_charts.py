"""Charts as SVG: every value is in the picture, at its place, and nothing else."""

import re
from xml.etree import ElementTree

import pytest
from hypothesis import given
from hypothesis import strategies as st

from api.console.charts import HEIGHT, WIDTH, shown, svg
from db.declare.reports import Chart, Form

VALUES = st.one_of(st.none(), st.integers(-(10**15), 10**15), st.floats(-1e12, 1e12))


def drawn(chart):
    return ElementTree.fromstring(str(svg(chart)))


def chart(values, form=Form.LINE, **more):
    labels = [f"day {number}" for number in range(len(values))]
    return Chart("Title", "USDC", labels, {"a": values}, form, **more)


@given(st.lists(VALUES, max_size=40), st.sampled_from(Form), VALUES)
def test_all_that_is_drawn_is_inside_the_picture(values, form, limit):
    root = drawn(chart(values, form, limit=limit))
    seen = 0
    for each in root.iter():
        for name, most in (("cx", WIDTH), ("cy", HEIGHT), ("x", WIDTH), ("y", HEIGHT),
                           ("y1", HEIGHT), ("y2", HEIGHT)):  # fmt: skip
            if name in each.attrib:
                seen += 1
                assert -1 <= float(each.get(name)) <= most + 1, (each.tag, name)
        if each.tag == "rect":
            assert float(each.get("height")) >= 0
    marks = root.findall("circle") + root.findall("rect")
    assert len(marks) == sum(value is not None for value in values)
    assert seen


@pytest.mark.parametrize("count", [1, 2, 8, 28, 90])
def test_no_date_below_the_axis_is_cut_off(count):
    labels = [f"2026-11-{number % 30 + 1:02}" for number in range(count)]
    root = drawn(Chart("T", "USDC", labels, {"a": [1] * count}))
    below = [each for each in root.findall("text") if each.text in labels]
    half = 11 * 0.6 * len("2026-11-01") / 2  # of 11 pixels high, in a wide font

    assert labels[-1] == below[-1].text
    for each in below:
        assert 0 <= float(each.get("x")) - half
        assert float(each.get("x")) + half <= WIDTH


def test_a_value_is_higher_than_a_smaller_one_and_a_gap_parts_the_line():
    root = drawn(chart([10, 40, None, 20, 30]))

    heights = [float(each.get("cy")) for each in root.findall("circle")]
    assert heights[1] < heights[3] < heights[2] < heights[0]
    assert len(root.findall("polyline")) == 2
    titles = [each.find("title").text for each in root.findall("circle")]
    assert titles[0] == "day 0, a: 10 USDC"


def test_bars_of_two_series_stand_beside_each_other_on_zero():
    labels = ["one", "two"]
    both = Chart("T", "USDC", labels, {"a": [1, 4], "b": [2, -2]}, Form.BARS)
    bars = [{k: float(each.get(k)) for k in ("x", "y", "width", "height")}
            for each in drawn(both).findall("rect")]  # fmt: skip

    assert bars[0]["x"] < bars[2]["x"] < bars[1]["x"] < bars[3]["x"]
    assert bars[0]["x"] + bars[0]["width"] <= bars[2]["x"]
    zero = bars[0]["y"] + bars[0]["height"]
    assert bars[1]["y"] + bars[1]["height"] == pytest.approx(zero, abs=0.11)
    assert bars[3]["y"] == pytest.approx(zero, abs=0.11)
    assert bars[1]["height"] == pytest.approx(4 * bars[0]["height"], rel=0.01)


def test_the_axis_has_round_numbers_up_to_the_highest_value():
    texts = [each.text for each in drawn(chart([4_991.02, 3_000])).findall("text")]

    assert [each for each in texts if re.fullmatch(r"[\d,]+", each)] == [
        "0", "2,000", "4,000", "6,000"
    ]  # fmt: skip


def test_the_last_of_many_labels_is_written():
    texts = [each.text for each in drawn(chart(range(28))).findall("text")]

    days = [each for each in texts if each.startswith("day")]
    assert days[-1] == "day 27"
    assert len(days) == 6


def test_what_a_business_writes_cannot_leave_its_text():
    evil = '"><script>alert(1)</script>&'
    found = str(svg(Chart(evil, evil, [evil], {evil: [1.5]})))

    assert "<script" not in found
    assert ElementTree.fromstring(found).get("aria-label") == evil


@pytest.mark.parametrize(
    ("value", "text"),
    [(None, "none"), (0, "0"), (0.25, "0.25"), (999.5, "999.5"), (1_234.5, "1,234")],
)
def test_values_as_texts(value, text):
    assert shown(value) == text


def test_a_series_of_another_length_is_refused():
    with pytest.raises(ValueError, match="a has 2 values for 1 labels"):
        Chart("T", "USDC", ["one"], {"a": [1, 2]})
