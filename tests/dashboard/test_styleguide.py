"""The page that shows every part: in development alone, and whole."""

import re
from pathlib import Path

import pytest
from django.conf import settings

STATIC = Path(settings.BASE_DIR, "static")


@pytest.mark.django_db
def test_it_shows_every_part_and_colour(alice):
    page = alice.get("/styleguide")
    text = page.content.decode()
    assert page.status_code == 200
    for part in (
        "badge busy",
        "chart bars",
        "chart line",
        "nothing",
        "spark",
        "notice warn",
        "errorlist",
        "empty",
        "<dialog",
        "call",
        "copy",
    ):
        assert part in text, part
    swatches = set(re.findall(r'class="swatch is-([\w-]+)"', text))
    assert swatches == set(re.findall(r"\.is-([\w-]+) ", (STATIC / "styleguide.css").read_text()))
    assert {"accent", "ok", "bad", "ink", "paper"} <= swatches


def test_it_does_not_exist_in_production(client, settings):
    settings.PRODUCTION = True
    assert client.get("/styleguide").status_code == 404
