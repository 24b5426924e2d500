"""Drawings: well-formed, safe with hostile names, and true to their figures."""

import re
from math import inf, nan
from xml.etree import ElementTree

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vidssl_cli.contract.reports import Confusion, Curves, Neighbours
from vidssl_cli.pages.charts import COLOURS, bars, confusion, curves, draw_all

SVG = "{http://www.w3.org/2000/svg}"
HOSTILE = """</svg><script>alert(1)</script>"'& x"""


def texts(drawing):
    return [element.text for element in ElementTree.fromstring(drawing).iter(f"{SVG}text")]


def numbers(drawing):
    """Return the numbers along both axes, upwards and to the right."""
    found = [t.replace("\N{MINUS SIGN}", "-").replace(",", "") for t in texts(drawing)]
    return [float(t) for t in found if re.fullmatch(r"-?[\d.]+(e[-+]\d+)?", t)]


def dots(drawing):
    circles = ElementTree.fromstring(drawing).iter(f"{SVG}circle")
    return [(float(circle.get("cx")), float(circle.get("cy"))) for circle in circles]


def line(points, name="run"):
    return Curves("Recall", "k", "recall", {name: points})


def test_few_values_of_k_are_marked_and_lie_at_equal_ratios():
    drawing = curves(line([(1, 0.1), (5, 0.3), (10, 0.4), (20, 0.5), (50, 0.6)]))
    assert numbers(drawing)[-5:] == [1, 5, 10, 20, 50]
    across = [x for x, _ in dots(drawing)]
    assert across[2] - across[1] == pytest.approx(across[3] - across[2], abs=0.2)


def test_many_values_have_round_marks_at_equal_distances():
    drawing = curves(line([(step, 3 - step / 5000) for step in range(0, 10_001, 10)]))
    assert numbers(drawing) == [0, 1, 2, 3, 0, 2000, 4000, 6000, 8000, 10000]
    assert not dots(drawing)


def test_a_point_lies_where_its_figures_say():
    drawing = curves(line([(0, 0), (1, 0.25), (2, 1)]))
    (x0, y0), (x1, y1), (x2, y2) = dots(drawing)
    assert x1 - x0 == pytest.approx((x2 - x0) / 2, abs=0.1)
    assert y0 - y1 == pytest.approx((y0 - y2) / 4, abs=0.1)


def test_figures_whose_differences_are_not_finite_are_left_out():
    assert len(dots(curves(line([(1, 1), (2, 1e308), (3, -1e308), (4, 2)])))) == 2


def test_a_thinned_line_keeps_its_mean():
    drawing = curves(line([(step, step % 2) for step in range(20_000)]))
    path = re.search(r'class="line"[^>]* d="M([^"]+)"', drawing)[1]
    heights = [float(point.split()[1]) for point in path.split("L")]
    assert len(heights) < 1500
    top, bottom = (
        float(y) for y in (re.findall(r'"rule" d="M[\d.]+ ([\d.]+)H', drawing)[i] for i in (-1, 0))
    )
    assert sum(heights) / len(heights) == pytest.approx((top + bottom) / 2, abs=1)


def test_counts_that_are_not_of_the_classes_are_refused():
    for counts in ([[1, 2]], [[1, 2], [3]], [[1, 2], [3, 4, 5]]):
        with pytest.raises(ValueError, match="not 2 by 2"):
            Confusion("", ["a", "b"], counts)


def test_lines_beyond_the_colours_are_dashed_and_named():
    names = [f"line {number}" for number in range(COLOURS + 1)]
    drawing = curves(Curves("Loss", "step", "loss", {n: [(0, 1), (1, 2)] for n in names}))
    assert [text for text in texts(drawing) if text in names] == names
    assert drawing.count("stroke-dasharray") == 2  # in the legend and in the plot


def test_a_legend_has_room_for_names_as_they_are_shown():
    names = ["\x1b" * 20, "b", "c" * 100]
    drawing = curves(Curves("Loss", "step", "loss", {n: [(0, 1), (1, 2)] for n in names}))
    shown = re.findall(r'<text x="([\d.]+)" y="([\d.]+)">(.*?)</text>', drawing)
    assert len({y for _, y, _ in shown}) == len(shown) == 5  # each has a row, long names two
    assert "".join(text for *_, text in shown) == r"\x1b" * 20 + "b" + "c" * 100
    assert all(len(text) * 7.4 < 480 - float(x) for x, _, text in shown)


@settings(max_examples=40)
@given(
    st.lists(
        st.tuples(st.floats(-1e6, 1e6), st.floats(-1e30, 1e30) | st.sampled_from([nan, inf])),
        max_size=20,
    )
)
def test_whatever_was_measured_is_drawn_inside(points):
    drawing = curves(line(sorted(points, key=lambda point: point[0])))
    _, _, width, height = map(float, ElementTree.fromstring(drawing).get("viewBox").split())
    assert "nan" not in drawing.replace("was measured", "")
    for x, y in dots(drawing):
        assert 0 <= x <= width
        assert 0 <= y <= height


def test_nothing_measured_is_said():
    assert "nothing was measured" in texts(curves(line([(1, nan)])))


def test_a_confusion_says_shares_of_rows_and_counts():
    drawing = confusion(Confusion("Order", ["back", "forth"], [[3, 1], [0, 0]]))
    assert [text for text in texts(drawing) if text.isdigit()] == ["75", "25"]
    titles = [e.text for e in ElementTree.fromstring(drawing).iter(f"{SVG}title")]
    assert titles == ["back taken for back: 3 of 4", "back taken for forth: 1 of 4"]


def test_a_large_confusion_has_every_name_and_no_numbers():
    classes = [f"class {n}" for n in range(101)]
    counts = [[int(a == b) for b in range(101)] for a in range(101)]
    said = texts(confusion(Confusion("All", classes, counts)))
    assert all(said.count(name) == 2 for name in classes)
    assert not any(text.isdigit() for text in said)


@pytest.mark.parametrize(
    "drawing",
    [
        curves(Curves(HOSTILE, HOSTILE, HOSTILE, {HOSTILE: [(1, 1), (2, 2)], "b": [(1, 1)]})),
        confusion(Confusion(HOSTILE, [HOSTILE, "b"], [[1, 2], [3, 4]])),
    ],
)
def test_names_are_text(drawing):
    tags = {element.tag.removeprefix(SVG) for element in ElementTree.fromstring(drawing).iter()}
    assert tags <= {"svg", "style", "text", "path", "circle", "rect", "title"}
    assert "alert(1)" in " ".join(filter(None, texts(drawing)))


def test_drawings_lie_beside_the_report(tmp_path):
    figures = [Neighbours("n", [], []), line([(1, 1)]), Confusion("A/b: ../c", ["a"], [[1]])]
    files = draw_all(tmp_path, figures)
    assert [file.name for file in files] == ["figure-2-recall.svg", "figure-3-a-b-c.svg"]
    assert all(ElementTree.parse(file).getroot().tag == f"{SVG}svg" for file in files)


def shaded(drawing):
    """Return the corners of the areas, (x, y) each."""
    paths = [
        p for p in ElementTree.fromstring(drawing).iter(f"{SVG}path") if p.get("class") == "band"
    ]
    return [
        [tuple(map(float, point.split())) for point in re.split("[ML]", p.get("d")[:-1])[1:]]
        for p in paths
    ]


def test_a_band_lies_around_its_line():
    """Its edges are the lowest values forwards and the highest backwards, and the axis has both."""
    points, band = [(1, 0.5), (2, 0.7)], [(0.4, 0.6), (0.5, 1.5)]
    drawing = curves(Curves("Cosine", "frames", "y", {"a": points, "b": points}, {"b": band}))
    ((low1, low2, high2, high1),) = shaded(drawing)
    (x1, y1), (x2, y2) = dots(drawing)[:2]
    assert (low1[0], low2[0], high2[0], high1[0]) == pytest.approx((x1, x2, x2, x1), abs=0.1)
    assert low1[1] - y1 == pytest.approx(y1 - high1[1], abs=0.2)
    assert low2[1] - y2 == pytest.approx((y2 - high2[1]) / 4, abs=0.2)
    assert max(numbers(drawing)[:-2]) >= 1.5


def test_what_is_not_finite_of_a_band_is_left_out():
    points = [(1, 0.5), (2, nan), (3, 0.7), (4, 0.8)]
    band = [(0.4, 0.6), (0.1, 0.2), (0.5, inf), (0.7, 0.9)]
    drawing = curves(Curves("Cosine", "frames", "y", {"a": points}, {"a": band}))
    assert [len(area) for area in shaded(drawing)] == [4]
    only = curves(Curves("Cosine", "frames", "y", {"a": [(1, 0.5)]}, {"a": [(nan, 1)]}))
    assert shaded(only) == []


def test_a_band_belongs_to_the_points_of_a_line():
    for bands in ({"a": [(0, 1)]}, {"b": [(0, 1), (0, 1)]}):
        with pytest.raises(ValueError, match="a band of 'Loss'"):
            Curves("Loss", "step", "loss", {"a": [(0, 1), (1, 2)]}, bands)


def test_few_even_values_lie_at_equal_distances():
    drawing = curves(line([(x / 10, x / 10) for x in range(1, 12)]))
    across = [x for x, _ in dots(drawing)]
    assert across[1] - across[0] == pytest.approx(across[-1] - across[-2], abs=0.2)


def rectangles(drawing):
    found = ElementTree.fromstring(drawing).iter(f"{SVG}rect")
    return [
        (float(r.get("x")), float(r.get("width")), r.get("fill"), r.find(f"{SVG}title").text)
        for r in found
    ]


def test_bars_go_both_ways_from_one_line():
    drawing = bars("Gain", {"dive": 20, "swim": 5, "still": 0, "run": -10})
    dive, swim, still, run = rectangles(drawing)
    assert dive[0] == swim[0] == still[0] == pytest.approx(run[0] + run[1], abs=0.2)
    assert (dive[1], swim[1], still[1]) == pytest.approx((2 * run[1], run[1] / 2, 0), abs=0.2)
    assert dive[2] == swim[2] != run[2]
    assert [said for *_, said in (dive, run)] == ["dive: +20.0", "run: \N{MINUS SIGN}10.0"]
    assert "dive" in texts(drawing)
    assert {"+5.0", "0.0"} <= set(texts(drawing))


def test_bars_of_nothing_and_of_nasty_names():
    ElementTree.fromstring(bars("Gain", {}))
    assert not rectangles(bars("Gain", {"a": 0}))[0][1]
    drawing = bars(HOSTILE, {HOSTILE: 1.5, "b": -1})
    ElementTree.fromstring(drawing)
    assert "<script" not in drawing


def test_lines_of_one_chart_are_marked_alike():
    """All have dots or none has, but for a single point, which would not be seen."""
    few, many = [(x, 0.5) for x in range(3)], [(x, 0.5) for x in range(30)]
    assert len(dots(curves(Curves("a", "x", "y", {"few": few, "more": few[:2]})))) == 5
    assert not dots(curves(Curves("a", "x", "y", {"few": few, "many": many})))
    assert len(dots(curves(Curves("a", "x", "y", {"one": few[:1], "many": many})))) == 1
