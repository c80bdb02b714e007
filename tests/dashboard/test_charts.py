"""Numbers to shapes."""

import pytest

from dashboard.charts import Chart, nice, sparkline, spoken


@pytest.mark.parametrize(
    ("value", "unit", "top"),
    [(0, "", 1), (1, "", 1), (1.1, "", 2), (47, "", 60), (600, "", 600), (601, "", 800), (0.027, "", 0.03), (62, "%", 100), (3000, "bytes", 4096)],
)  # fmt: skip
def test_a_scale_ends_at_a_round_number_that_holds_every_value(value, unit, top):
    assert nice(value, unit) == pytest.approx(top)


@pytest.mark.parametrize(
    ("value", "unit", "text"),
    [(None, "ms", "—"), (0, "", "0"), (1234.4, "ms", "1,234 ms"), (0.125, "ms", "0.125 ms"), (3.5, "$", "$3.50"), (42, "%", "42%"), (1536, "bytes", "1.5 KB")],
)  # fmt: skip
def test_a_number_is_told_with_its_unit(value, unit, text):
    assert spoken(value, unit) == text


def test_stacked_bars_stand_on_each_other_and_reach_their_sum():
    chart = Chart("Requests", ["Mon", "Tue"], [("ok", [6, 0], "ok"), ("failed", [4, 5], "bad")], stacked=True)
    monday, tuesday = chart.columns()
    assert chart.ticks == ["10", "5", "0"]
    assert [(rect.tone, rect.y, rect.height) for rect in monday.rects] == [
        ("ok", 40, 60),
        ("bad", 0, pytest.approx(40)),
    ]
    assert [(rect.tone, rect.y + rect.height) for rect in tuesday.rects] == [("bad", 100)]
    assert monday.words == "Mon: ok 6, failed 4"
    assert monday.x + monday.width == tuesday.x == 50


def test_a_line_is_broken_where_nothing_was_measured():
    chart = Chart("CPU", list("abcd"), [("cpu", [50, 100, None, 0])], unit="%")
    assert chart.lines() == [("tone-1", "12.50,50.00 37.50,0.00"), ("tone-1", "80.00,100.00 95.00,100.00")]
    assert [len(column.dots) for column in chart.columns()] == [1, 1, 0, 1]
    assert chart.columns()[2].words == "c: —"


def test_a_chart_of_nothing_is_empty():
    assert Chart("Requests", [], []).empty
    assert Chart("Requests", ["a"], [("ok", [0]), ("failed", [None])]).empty
    assert not Chart("Requests", ["a"], [("ok", [0.1])]).empty


def test_a_sparkline_stays_within_its_square():
    assert sparkline([0, 10, None, 5]) == ["0.0,95.0 33.3,5.0", "100.0,50.0"]
    assert sparkline([]) == []
    assert sparkline([0, 0]) == ["0.0,95.0 100.0,95.0"]
