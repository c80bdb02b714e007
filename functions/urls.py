"""Addresses of this app: `v1` (the API), a table of contents."""

from django.urls import path

from functions.api.executions import DeadLetters, Executions
from functions.api.functions import Functions
from functions.api.versions import FunctionVersions

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
