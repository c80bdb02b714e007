"""What holds for every template and for the style sheet: the strict policy, no script needed, little to load."""

import re
from pathlib import Path

import pytest
from django.conf import settings
from django.contrib.staticfiles import finders
from django.template.loader import render_to_string
from playwright.sync_api import sync_playwright

from dashboard.templatetags.ui import pattern

TEMPLATES = sorted(Path(settings.BASE_DIR, "templates").rglob("*.html"))
ADMIN = Path(settings.BASE_DIR, "templates", "admin")
STATIC = Path(settings.BASE_DIR, "static")
NAMES = ["web-1", "a.b*c", "(x)[y]{z}", "λ/böx", "say “hi”", "a-b&c~d`e!f@g#h%i:j", "back\\slash", "$^|?+"]


@pytest.mark.parametrize("path", TEMPLATES, ids=lambda path: str(path.relative_to(settings.BASE_DIR / "templates")))
def test_a_template_has_nothing_inline_that_the_policy_would_refuse(path):
    text = path.read_text()
    assert not re.search(r"\sstyle\s*=|<style|javascript:", text)
    assert not re.search(r"<[^>{%]*\son[a-z]+\s*=|hx-on", text)
    assert not re.search(r"<script(?![^>]*\ssrc=)", text)
    assert not re.search(r"(src|href)=[\"']?(https?:)?//", text)


@pytest.mark.parametrize("path", TEMPLATES, ids=lambda path: str(path.relative_to(settings.BASE_DIR / "templates")))
def test_every_form_that_posts_carries_its_token(path):
    for form in re.findall(r"<form\b[^>]*method=\"post\".*?</form>", path.read_text(), re.DOTALL):
        assert "{% csrf_token %}" in form, form[:200]


@pytest.mark.parametrize("code", ["400", "403", "403_csrf", "404", "500"])
def test_an_error_page_needs_no_context(code):
    text = render_to_string(f"{code}.html")
    assert f'<p class="error-code">{code[:3]}</p>' in text
    assert 'href="/"' in text


def test_every_class_that_a_template_uses_has_a_rule():
    ours = "".join(path.read_text() for path in STATIC.glob("*.css"))
    admins = "".join(Path(finders.find(f"admin/css/{name}.css")).read_text() for name in ("base", "forms"))
    unknown = set()
    for path in TEMPLATES:
        css = ours + admins if path.is_relative_to(ADMIN) else ours
        known = set(re.findall(r"\.([a-z][\w-]*)", css))
        for value in re.findall(r'\bclass="((?:[\w-]+(?=[\s"])|\s)*)', path.read_text()):
            unknown |= {f"{path.name}: {name}" for name in value.split() if name not in known}
    assert not unknown


def test_every_colour_that_a_rule_names_is_a_token():
    ours = set(re.findall(r"(--[\w-]+):", (STATIC / "lambda.css").read_text()))
    for path in STATIC.glob("*.css"):
        css = path.read_text()
        # `--x: …` in the same file, a token of lambda.css, or a variable with a fallback, which this pattern passes by.
        assert set(re.findall(r"var\((--[\w-]+)\)", css)) <= set(re.findall(r"(--[\w-]+):", css)) | ours, path.name


@pytest.mark.browser
def test_typing_a_name_to_confirm_takes_that_name_and_no_other():
    with sync_playwright() as play:
        browser = play.chromium.launch(executable_path="/usr/bin/chromium", args=["--no-sandbox"])
        page = browser.new_page()
        page.set_content("<input required>")
        check = """([pattern, value]) => {
            const input = document.querySelector("input");
            Object.assign(input, { pattern, value });
            return input.checkValidity();
        }"""
        for name in NAMES:
            assert page.evaluate(check, [pattern(name), name]), name
            assert not page.evaluate(check, [pattern(name), name + "x"]), name
            assert not page.evaluate(check, [pattern(name), "other"]), name
        browser.close()
