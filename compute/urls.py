"""Addresses of this app: `v1` (the API) and `dashboard` (HTML), a table of contents."""

from django.urls import path

from compute.api.instances import Instances
from compute.api.ssh_keys import SshKeys
from compute.views import instance_bulk, instance_changes, instance_create, instances, ssh_keys
from dashboard import palette

v1 = [
    path("instances", Instances.as_view({"get": "list", "post": "create"})),
    path("instances/<id>", Instances.as_view({"get": "retrieve", "patch": "update", "delete": "destroy"})),
    path("instances/<id>/start", Instances.as_view({"post": "start"})),
    path("instances/<id>/stop", Instances.as_view({"post": "stop"})),
    path("instances/<id>/restart", Instances.as_view({"post": "restart"})),
    path("instances/<id>/resize", Instances.as_view({"post": "resize"})),
    path("instances/<id>/rebuild", Instances.as_view({"post": "rebuild"})),
    path("instances/<id>/wait", Instances.as_view({"get": "wait"})),
    path("instances/<id>/console-log", Instances.as_view({"get": "console_log"})),
    path("instances/<id>/events", Instances.as_view({"get": "events"})),
    path("ssh-keys", SshKeys.as_view({"get": "list", "post": "create"})),
    path("ssh-keys/<id>", SshKeys.as_view({"get": "retrieve", "patch": "update", "delete": "destroy"})),
]
dashboard = [
    path("instances", instances.List.as_view(), name="instances"),
    path("instances/new", instance_create.Create.as_view(), name="instance_create"),
    path("instances/new/estimate", instance_create.Estimate.as_view(), name="instance_estimate"),
    path("instances/bulk", instance_bulk.Bulk.as_view(), name="instance_bulk"),
    path("instances/<id>", instances.Detail.as_view(), name="instance"),
    path("instances/<id>/console", instances.Console.as_view(), name="instance_console"),
    path("instances/<id>/change", instance_changes.Change.as_view(), name="instance_change"),
    path("instances/<id>/resize", instance_changes.Resize.as_view(), name="instance_resize"),
    path("instances/<id>/rebuild", instance_changes.Rebuild.as_view(), name="instance_rebuild"),
    path("instances/<id>/delete", instances.Delete.as_view(), name="instance_delete"),
    path("instances/<id>/power/<action>", instances.Power.as_view(), name="instance_power"),
    path("ssh-keys", ssh_keys.List.as_view(), name="ssh_keys"),
    path("ssh-keys/new", ssh_keys.Create.as_view(), name="ssh_key_create"),
    path("ssh-keys/<id>/remove", ssh_keys.Remove.as_view(), name="ssh_key_remove"),
]
palette.offer(
    palette.Place("compute:instances", "Instances", "server", "instances:read", "Compute", "i", "servers machines vms"),
    palette.Place("compute:ssh_keys", "SSH keys", "key-round", "ssh_keys:read", "Compute", "s"),
    palette.action("compute:instance_create", "Create instance", "instances:create", "Compute"),
    palette.action("compute:ssh_key_create", "Add SSH key", "ssh_keys:write", "Compute"),
)
palette.offer_things("instance", name="compute:instance", symbol="server", scope="instances:read", prefix="inst")
