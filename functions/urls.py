"""Addresses of this app: `v1` (the API) and `dashboard` (HTML), a table of contents."""

from django.urls import path

from dashboard import palette
from functions.api.executions import DeadLetters, Executions
from functions.api.functions import Functions
from functions.api.versions import FunctionVersions
from functions.views import code, create, executions, functions, metrics, settings, versions

v1 = [
    path("functions", Functions.as_view({"get": "list", "post": "create"})),
    path("functions/runtimes", Functions.as_view({"get": "runtimes"})),
    path("functions/<id>", Functions.as_view({"get": "retrieve", "patch": "update", "delete": "destroy"})),
    path("functions/<id>/code", Functions.as_view({"put": "code"})),
    path("functions/<id>/deprecate", Functions.as_view({"post": "deprecate"})),
    path("functions/<id>/invoke", Functions.as_view({"post": "invoke"})),
    path("functions/<id>/versions", FunctionVersions.as_view({"get": "list"})),
    path("functions/<id>/versions/<number>/activate", FunctionVersions.as_view({"post": "activate"})),
    path("functions/<id>/executions", Executions.as_view({"get": "list"})),
    path("functions/<id>/executions/<execution>", Executions.as_view({"get": "retrieve"})),
    path("functions/<id>/logs", Executions.as_view({"get": "logs"})),
    path("functions/<id>/dead-letters", DeadLetters.as_view({"get": "list"})),
    path("functions/<id>/dead-letters/redrive", DeadLetters.as_view({"post": "redrive"})),
]
dashboard = [
    path("functions", functions.List.as_view(), name="functions"),
    path("functions/new", create.Create.as_view(), name="function_create"),
    path("functions/<id>", code.Detail.as_view(), name="function"),
    path("functions/<id>/test", code.Test.as_view(), name="function_test"),
    path("functions/<id>/metrics", metrics.Metrics.as_view(), name="function_metrics"),
    path("functions/<id>/executions", executions.List.as_view(), name="function_executions"),
    path("functions/<id>/executions/<execution>", executions.Detail.as_view(), name="function_execution"),
    path("functions/<id>/dead-letters", executions.DeadLetters.as_view(), name="function_dead_letters"),
    path("functions/<id>/versions", versions.List.as_view(), name="function_versions"),
    path("functions/<id>/versions/<int:number>/activate", versions.Activate.as_view(), name="function_activate"),
    path("functions/<id>/settings", settings.Settings.as_view(), name="function_settings"),
    path("functions/<id>/deprecate", settings.Deprecate.as_view(), name="function_deprecate"),
    path("functions/<id>/delete", settings.Delete.as_view(), name="function_delete"),
]
palette.offer(
    palette.Place("functions:functions", "Functions", "zap", "functions:read", "Compute", "f", "lambda serverless"),
    palette.action("functions:function_create", "Create function", "functions:write", "Compute"),
)
palette.offer_things("function", name="functions:function", symbol="zap", scope="functions:read", prefix="FUNC")
