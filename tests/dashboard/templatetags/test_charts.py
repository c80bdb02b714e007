"""Charts as they are in the page."""

import re
from xml.etree import ElementTree

from django.template import Context, Template

EVIL = "<script>"


def render(source: str, **context) -> str:
    return Template("{% load charts %}" + source).render(Context(context))


def test_every_column_can_be_focused_and_the_same_numbers_are_in_a_table():
    series = [("Succeeded", [3, 1500], "ok"), (EVIL, [0, None], "bad")]
    text = render("{% bars title days series %}", title=f"{EVIL}s", days=["Mon", EVIL], series=series)
    assert EVIL not in text
    assert text.count('tabindex="0"') == 2
    assert 'aria-label="Mon: Succeeded 3, &lt;script&gt; 0"' in text
    assert re.findall("<td>(.*?)</td>", text) == ["3", "0", "1,500", "—"]
    assert "style=" not in text
    ElementTree.fromstring(text[text.index("<figure") :].strip())


def test_a_chart_without_a_value_says_so_instead_of_drawing():
    text = render("{% line 'CPU' hours series empty='Nothing measured yet.' %}", hours=["1"], series=[("cpu", [None])])
    assert "Nothing measured yet." in text
    assert "<svg" not in text


def test_a_sparkline_says_in_words_what_it_shows():
    text = render("{% sparkline values '312 requests in 24 hours' %}", values=[1, 5, 2])
    assert 'role="img" aria-label="312 requests in 24 hours"' in text
    assert text.count("<polyline") == 1
