"""The parts that templates are made of: what they escape, and what they say of states, times and money."""

import re
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest
import time_machine
from django import forms
from django.http import HttpResponse
from django.template import Context, Template
from django.test import RequestFactory
from django.urls import include, path
from lucide import IconDoesNotExist

from compute.models.instance import STATES

NOW = datetime(2026, 1, 24, 10, 30, tzinfo=UTC)
# A side bar's worth of addresses: these tests need no page of any app.
dashboard = [path("instances", HttpResponse, name="instances"), path("instances/new", HttpResponse)]
urlpatterns = [path("", HttpResponse, name="home"), path("", include((dashboard, "compute")))]
EVIL = "<script>alert('1')</script>"


def render(source: str, **context) -> str:
    return Template("{% load ui %}" + source).render(Context(context))


class KeyForm(forms.Form):
    name = forms.CharField(help_text="Where it is used.", widget=forms.TextInput(attrs={"placeholder": "Name of it"}))
    note = forms.CharField(required=False)
    start = forms.BooleanField(required=False)
    kind = forms.ChoiceField(widget=forms.RadioSelect, choices=[("a", "A"), ("b", "B")])
    secret = forms.CharField(required=False, widget=forms.HiddenInput)

    def clean(self):
        raise forms.ValidationError("Nothing fits.")


@pytest.mark.parametrize(
    "source",
    [
        "{% badge evil %}",
        "{% badge 'running' evil %}",
        "{% copy evil %}",
        "{% copy evil label=evil %}",
        "{% code %}{{ evil }}{% endcode %}",
        "{% ago none evil %}",
        "{% card title=evil note=evil %}{{ evil }}{% endcard %}",
        "{% dialog id=evil title=evil %}{{ evil }}{% enddialog %}",
        "{% empty title=evil symbol='server' %}{{ evil }}{% endempty %}",
        "{% notice tone=evil %}{{ evil }}{% endnotice %}",
        "{% money '1' currency=evil %}",
        "{{ evil|happened }}",
        "{{ evil|pattern }}",
    ],
)
def test_no_part_lets_markup_through(source):
    text = render(source, evil=EVIL, none=None)
    assert "<script" not in text
    assert "script" in text


def test_an_icon_is_drawn_and_silent():
    text = render("{% icon 'server' 'faint' %}")
    assert text.startswith("<svg")
    assert 'aria-hidden="true"' in text
    assert 'class="icon faint"' in text
    assert "style=" not in text


def test_an_icon_that_does_not_exist_is_an_error_and_not_a_gap():
    with pytest.raises(IconDoesNotExist):
        render("{% icon 'no-such-icon' %}")


@pytest.mark.parametrize(
    ("state", "tone", "word"),
    [
        ("running", "ok", "Running"),
        ("provisioning", "busy", "Provisioning"),
        ("error", "bad", "Error"),
        ("expiring", "warn", "Expiring"),
        ("stopped", "", "Stopped"),
        ("past_due", "", "Past due"),
    ],
)
def test_a_badge_says_the_state_in_colour_and_in_words(state, tone, word):
    text = render("{% badge state %}", state=state)
    assert f'class="badge {tone}"' in text
    assert text.endswith(f"{word}</span>")


def test_every_state_of_an_instance_on_its_way_pulses():
    resting = {"running", "stopped", "error", "deleted"}
    assert {state for state in STATES if 'class="badge busy"' in render("{% badge s %}", s=state)} == set(
        STATES
    ) - resting


def test_what_is_copied_is_in_the_page_once():
    assert render("{% copy 'λ_sk_secret' %}").count("λ_sk_secret") == 1


@pytest.mark.parametrize(
    ("distance", "words"),
    [
        (timedelta(seconds=-20), "just now"),
        (timedelta(seconds=20), "in a moment"),
        (timedelta(minutes=-1), "1 minute ago"),
        (timedelta(minutes=-59, seconds=-20), "59 minutes ago"),
        (timedelta(hours=-5), "5 hours ago"),
        (timedelta(days=89, hours=23, minutes=59), "in 3 months"),
        (timedelta(days=-1), "1 day ago"),
        (timedelta(days=800), "in 2 years"),
    ],
)
@time_machine.travel(NOW, tick=False)
def test_a_moment_is_told_by_its_distance(distance, words):
    assert f">{words}</time>" in render("{% ago moment %}", moment=NOW + distance)


@time_machine.travel(NOW, tick=False)
def test_a_moment_carries_its_exact_time_in_utc():
    there = NOW.astimezone(datetime.strptime("+0530", "%z").tzinfo)
    text = render("{% ago moment %}", moment=there)
    assert 'datetime="2026-01-24T10:30:00Z"' in text
    assert 'title="2026-01-24 10:30:00 UTC"' in text


def test_a_moment_that_never_came_is_said_so():
    assert "Not yet" in render("{% ago moment 'Not yet' %}", moment=None)


@pytest.mark.parametrize(
    ("amount", "text"),
    [
        (Decimal("0.016000000000"), "$0.016"),
        (Decimal(2345), "$2,345.00"),
        ("1234567.5", "$1,234,567.50"),
        (Decimal("-3.1"), "−$3.10"),
        (0, "$0.00"),
        (None, "—"),
        ("NaN", "—"),
        ("much", "—"),
    ],
)
def test_money_has_two_decimals_and_more_only_where_it_needs_them(amount, text):
    assert render("{% money amount %}", amount=amount) == text


def test_money_is_rounded_to_the_places_asked_for():
    assert render("{% money amount places=2 %}", amount=Decimal("42.1873")) == "$42.19"


def test_memory_is_told_in_the_catalogues_units():
    assert (
        render("{{ 512|memory }} {{ 1024|memory }} {{ 65536|memory }} {{ 1536|memory }}") == "512 MB 1 GB 64 GB 1.5 GB"
    )


def test_what_happened_is_told_in_words():
    assert render("{{ 'instance.started'|happened }}") == "Started"
    assert render("{{ 'api_key.created'|happened:True }}") == "API key created"
    assert render("{{ 'instance.failed'|tone }}{{ 'instance.resized'|tone }}") == "bad"


@pytest.mark.parametrize(("cookie", "theme"), [("dark", "dark"), ("light", "light"), ("system", ""), ('"><b>', "")])
def test_only_a_known_theme_reaches_the_page(cookie, theme):
    request = RequestFactory().get("/")
    request.COOKIES["theme"] = cookie
    assert render("{% theme %}", request=request) == theme


@pytest.mark.urls(__name__)
def test_the_side_bar_marks_the_page_one_is_on_and_the_section_it_is_in():
    def link(path, name="compute:instances"):
        return render("{% nav name 'A page' 'server' %}", name=name, request=RequestFactory().get(path))

    assert 'aria-current="page"' in link("/instances")
    assert 'aria-current="true"' in link("/instances/new")
    assert "aria-current" not in link("/instances-of-somebody")
    assert "aria-current" not in link("/ssh-keys", "home")


@pytest.mark.urls(__name__)
def test_the_side_bar_leaves_out_a_page_that_does_not_exist():
    assert render("{% nav 'nowhere:at_all' 'Nowhere' 'server' %}") == ""


def test_a_field_ties_its_label_hint_and_error_to_its_control():
    text = render("{% field form.name %}", form=KeyForm({}))
    assert '<label for="id_name">Name</label>' in text
    assert 'id="id_name_helptext">Where it is used.' in text
    assert 'id="id_name_error"' in text
    assert re.search(r'<input [^>]*aria-describedby="id_name_helptext id_name_error"', text)
    assert 'aria-invalid="true"' in text


def test_a_hint_given_in_the_template_is_tied_to_the_control_too():
    text = render("{% field form.note hint='For you alone.' %}", form=KeyForm())
    assert 'id="id_note_helptext">For you alone.' in text
    assert 'aria-describedby="id_note_helptext"' in text


def test_a_field_that_may_stay_empty_says_so():
    assert "optional" in render("{% field form.note %}", form=KeyForm())
    assert "optional" not in render("{% field form.name %}", form=KeyForm())


def test_a_placeholder_that_repeats_the_label_is_left_out():
    assert "Name of it" not in render("{% field form.name %}", form=KeyForm())


def test_several_choices_stand_under_one_legend():
    assert render("{% field form.kind %}", form=KeyForm()).startswith('<fieldset class="field"><legend>Kind</legend>')
    assert 'aria-describedby="id_kind_error"' in render("{% field form.kind %}", form=KeyForm({}))
    assert "<legend>Which?</legend>by hand" in render(
        "{% choices form.kind label='Which?' %}by hand{% endchoices %}", form=KeyForm()
    )


def test_a_form_shows_what_is_wrong_with_it_as_a_whole_before_every_field():
    text = render("{% fields form %}", form=KeyForm({}))
    assert text.index('role="alert"') < text.index("id_name")
    assert "Nothing fits." in text
    assert 'type="hidden" name="secret"' in text
    assert "alert" not in render("{% fields form %}", form=KeyForm())
