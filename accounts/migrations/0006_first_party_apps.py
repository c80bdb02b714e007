"""Lambda's own OAuth apps: they belong to no account and keep no secret."""

from django.db import migrations

PUBLIC = {"client_type": "public", "client_secret": "", "hash_client_secret": False}
APPS = [
    {"client_id": "lambda-dashboard", "name": "Lambda dashboard", "authorization_grant_type": "authorization-code"},
    {
        "client_id": "lambda-cli",
        "name": "Lambda command line",
        "authorization_grant_type": "urn:ietf:params:oauth:grant-type:device_code",
    },
]


def make(apps, schema_editor):
    for app in APPS:
        apps.get_model("accounts", "OAuthApp").objects.create(**app, **PUBLIC)


class Migration(migrations.Migration):
    dependencies = [("accounts", "0005_oauth")]
    operations = [migrations.RunPython(make, migrations.RunPython.noop)]
