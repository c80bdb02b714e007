"""The form that makes a function: runtime, a few lines or a zip, and what it may use."""

from typing import Any

from django import forms
from django.contrib.auth.mixins import LoginRequiredMixin
from django.core.exceptions import ValidationError
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.views import View

from catalog.models import Region
from core.errors import LambdaError
from dashboard.forms import explain, once
from dashboard.pages import show_form
from functions import archive
from functions.actions import functions
from functions.models import Runner
from functions.views.fields import LimitsForm, SourceField, TagsField, VariablesField, forget_secrets

SAMPLES = {
    "python": """def handler(event, context):
    name = event.get("name", "world")
    print("hello", name)
    return {"hello": name}
""",
    "node": """exports.handler = async (event) => {
  const name = event.name ?? "world";
  console.log("hello", name);
  return { hello: name };
};
""",
}
ZIP = forms.FileInput(attrs={"accept": ".zip,application/zip"})


class FunctionForm(LimitsForm):
    name = forms.CharField(max_length=64, help_text="Unique in the account.")
    region = forms.ChoiceField()
    runtime = forms.ChoiceField(widget=forms.RadioSelect)
    handler = forms.CharField(max_length=128, help_text="File and function: handler in app.", initial="app.handler")
    python, node = SourceField(rows=14, label="Python"), SourceField(rows=14, label="JavaScript")
    zip = forms.FileField(
        required=False, label="Or a zip", widget=ZIP, help_text="At most 50 MB. It replaces the code above."
    )
    env = VariablesField(label="Environment", help_text="You can read these again.")
    secrets = VariablesField(label="Secrets", help_text="Variables that only the function sees: never shown again.")
    tags = TagsField()

    def __init__(self, *args: Any, **kwargs: Any):
        super().__init__(*args, **kwargs)
        self.runner = Runner.current()
        self.runtimes = Runner.known_runtimes()
        self.fields["runtime"].choices = [(one["name"], one["label"]) for one in self.runtimes]
        self.fields["region"].choices = [(sold.slug, f"{sold.name} · {sold.slug}") for sold in Region.objects.offered()]
        for family, text in SAMPLES.items():
            self.fields[family].initial = text
        defaults: dict[str, Any] = {
            "memory": functions.MEMORY,
            "timeout": functions.TIMEOUT,
            "max_concurrency": functions.CONCURRENCY,
        }
        defaults |= {"region": functions.REGION, "runtime": self.runtimes[0]["name"] if self.runtimes else ""}
        for name, value in defaults.items():
            self.fields[name].initial = value

    @property
    def closed(self) -> str:
        """Why nothing can be made now, or nothing."""
        if self.runner is None or not self.runtimes:
            return "No runner has been seen yet, so nothing is known to run here. It is looked for every few seconds."
        return "" if self.runner.ok else f"Functions cannot run at the moment: {self.runner.reason}"

    def clean_zip(self) -> Any:
        given = self.cleaned_data["zip"]
        if given and given.size > archive.MAX_ARCHIVE:
            raise ValidationError("A zip may have 50 MB at most")
        return given

    def code(self) -> dict[str, Any]:
        """What was sent: the zip, or else the lines in the language of the runtime."""
        given = self.cleaned_data
        if given["zip"]:
            return {"zip": given["zip"].read()}
        return {"inline": given[archive.family(given["runtime"])]}

    @property
    def as_call(self) -> dict[str, Any]:
        """What the form says now, as the API takes it: what is so by default is left out, and so are secrets."""
        said = {name: self[name].value() for name in ("name", "runtime", "handler")}
        said["name"] = said["name"] or "hello"
        said["code"] = {"inline": self[archive.family(str(said["runtime"]))].value() or ""}
        for name in ("memory", "timeout", "max_concurrency"):
            value = str(self[name].value() or "")
            if value.isdecimal() and int(value) != self.fields[name].initial:
                said[name] = int(value)
        for name in ("env", "tags"):
            try:
                if value := self.fields[name].clean(self[name].value()):
                    said[name] = value
            except ValidationError:
                continue
        return said


class Create(LoginRequiredMixin, View):
    scopes = {"GET": "functions:write"}
    template = "functions/functions/create.html"

    def get(self, request: HttpRequest) -> HttpResponse:
        return show_form(request, self.template, FunctionForm())

    def post(self, request: HttpRequest) -> HttpResponse:
        form = FunctionForm(request.POST, request.FILES)
        return self._form(request, form) if "review" in request.POST else self._make(request, form)

    @once
    def _make(self, request: HttpRequest, form: FunctionForm) -> HttpResponse:
        if form.is_valid():
            fields = {name: value for name, value in form.cleaned_data.items() if name not in ("zip", *SAMPLES)}
            try:
                row = functions.create(account=request.account, by=request.by, code=form.code(), **fields)
            except LambdaError as refused:
                explain_code(form, refused)
            else:
                return redirect("functions:function", id=row.public_id)
        return self._form(request, form)

    def _form(self, request: HttpRequest, form: FunctionForm) -> HttpResponse:
        forget_secrets(form)
        ask_again(form, request)
        return show_form(request, self.template, form)


def explain_code(form: forms.Form, refused: LambdaError) -> None:
    """As `explain`; what is wrong with the code is said beside the zip: a few lines always make one that is sound."""
    for error in getattr(refused, "errors", []):
        if error.field == "code":
            form.add_error("zip", error.message)
            return
    explain(form, refused)


def ask_again(form: forms.Form, request: HttpRequest) -> None:
    if form.errors and request.FILES and not form.has_error("zip"):
        form.add_error("zip", "Choose the file again: browsers do not keep it.")
