"""Every template can be read by the engine: a misspelt tag shows here, not to the first visitor of a rare page."""

import pytest
from django.conf import settings
from django.template.loader import get_template

FOLDER = settings.BASE_DIR / "templates"


@pytest.mark.parametrize(
    "name", sorted(str(path.relative_to(FOLDER)) for path in FOLDER.rglob("*.*") if path.is_file())
)
def test_a_template_can_be_compiled(name):
    get_template(name)
