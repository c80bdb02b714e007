"""What was deployed of a function, and the way back: any version that was built can be made live again."""

from django.contrib import messages
from django.contrib.auth.mixins import LoginRequiredMixin
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.views import View

from core.errors import LambdaError
from dashboard.calls import Call
from functions.actions import functions
from functions.models import FunctionVersion
from functions.views.functions import find, path_of


class List(LoginRequiredMixin, View):
    scopes = {"GET": "functions:read"}

    def get(self, request: HttpRequest, id: str) -> HttpResponse:
        function = find(request, id)
        path = f"{path_of(function)}/versions"
        context = {
            "function": function,
            "versions": list(FunctionVersion.objects.of(function)),
            "calls": [
                Call("What this page shows", "GET", path),
                Call("Make a version live", "POST", f"{path}/{function.live or 1}/activate"),
            ],
        }
        return render(request, "functions/functions/versions.html", context)


class Activate(LoginRequiredMixin, View):
    scopes = {"GET": "functions:deploy"}

    def post(self, request: HttpRequest, id: str, number: int) -> HttpResponse:
        function = find(request, id)
        try:
            functions.activate(function=function, by=request.by, number=number)
        except LambdaError as refused:
            messages.error(request, refused.message)
        else:
            messages.success(request, f"Version {number} is live, with the configuration it had.")
        return redirect("functions:function_versions", id=id)
