"""Charts drawn by the server (`{% load charts %}`): they work without a script, in the dark, in print and by keyboard.

Each column can be focused and says its numbers; the same numbers are in a table that is read but not seen.
"""

from collections.abc import Sequence
from typing import Any

from django import template
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString

from dashboard.charts import Chart, Values
from dashboard.charts import sparkline as spark_points

register = template.Library()


@register.simple_tag
def sparkline(values: Values, label: str) -> SafeString:
    """A line as small as a word. `label` says in words what it shows, e.g. "312 requests in 24 hours"."""
    lines = format_html_join("", '<polyline points="{}"/>', ((points,) for points in spark_points(values)))
    return format_html(
        '<svg class="spark" viewBox="0 0 100 100" preserveAspectRatio="none" role="img" aria-label="{0}">'
        "<title>{0}</title>{1}</svg>",
        label,
        lines,
    )


@register.inclusion_tag("dashboard/_chart.html")
def bars(title: str, labels: Sequence[str], series: Any, unit: str = "", empty: str = "Nothing yet.") -> Any:
    """Bars, one for each label, the series standing on each other: `{% bars "Requests" days series %}`.

    `series`: a list of (name, values) or (name, values, tone); see dashboard.charts.Chart.
    """
    return {"chart": Chart(title, labels, series, unit, stacked=True), "kind": "bars", "nothing": empty}


@register.inclusion_tag("dashboard/_chart.html")
def line(title: str, labels: Sequence[str], series: Any, unit: str = "", empty: str = "Nothing yet.") -> Any:
    """Lines over the labels, one for each series, with gaps where a value is None. Otherwise as `bars`."""
    return {"chart": Chart(title, labels, series, unit), "kind": "line", "nothing": empty}
