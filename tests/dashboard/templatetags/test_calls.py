"""`call` and `calls`: what pages show beside their buttons."""

from django.template import Context, Template
from django.test import RequestFactory

from dashboard.calls import Call

EVIL = "<script>"


def render(source: str, cookie: str = "", **context) -> str:
    request = RequestFactory().get("/", HTTP_HOST="cloud.example:8443", secure=True)
    request.COOKIES["language"] = cookie
    return Template("{% load calls %}" + source).render(Context({"request": request, **context}))


def test_a_call_is_shown_with_the_address_at_which_the_reader_is(settings):
    settings.ALLOWED_HOSTS = ["cloud.example"]
    text = render("{% call 'POST' '/v1/instances' id 'resize' restart=True %}", id="inst_1")
    assert "https://cloud.example:8443/v1/instances/inst_1/resize" in text
    assert "Bearer $LAMBDA_API_KEY" in text
    assert '<span class="key">&quot;restart&quot;</span>: <span class="word">true</span>' in text


def test_the_language_chosen_last_comes_first_and_an_unknown_one_is_curl(settings):
    settings.ALLOWED_HOSTS = ["cloud.example"]
    source = "{% call 'GET' '/v1/instances' %}"
    assert 'value="python" form="none" data-language checked' in render(source, "python")
    assert 'value="curl" form="none" data-language checked' in render(source, '"><b>')


def test_every_call_of_a_page_is_in_one_dialog_and_chooses_its_language_by_itself(settings):
    settings.ALLOWED_HOSTS = ["cloud.example"]
    text = render("{% calls shown %}", shown=[Call("Start", "POST", "/v1/a/1/start"), Call(EVIL, "GET", f"/v1/{EVIL}")])
    assert text.count("<dialog") == 1
    assert text.count("<details") == 2
    assert text.count(" checked") == 2
    assert len({part[:11] for part in text.split('name="call-')[1:]}) == 2
    assert EVIL not in text
