"""N: the same list, get and create as one would write them from the DRF tutorial. Kept honest, not slow on purpose.

ModelViewSet, nested ModelSerializers with select_related and prefetch_related, LimitOffset paging with COUNT, an API
key looked up by its SHA-256 through the ORM, DRF's own throttle, Django's usual middleware, the same SQLite settings.
`python -m bench.peers.naive HOME` makes its database with 20 instances and prints a key.
"""

import os
import sys
from hashlib import sha256

import django
from django.conf import settings

HOME = os.environ.get("NAIVE_HOME") or sys.argv[1]
settings.configure(
    ROOT_URLCONF="bench.peers.naive_urls",
    ALLOWED_HOSTS=["*"],
    SECRET_KEY="bench",
    LOGGING_CONFIG=None,
    USE_TZ=True,
    DEFAULT_AUTO_FIELD="django.db.models.BigAutoField",
    INSTALLED_APPS=[
        "django.contrib.auth",
        "django.contrib.contenttypes",
        "django.contrib.sessions",
        "rest_framework",
        "bench.peers.naive_app",
    ],
    MIDDLEWARE=[
        "django.middleware.security.SecurityMiddleware",
        "django.contrib.sessions.middleware.SessionMiddleware",
        "django.middleware.common.CommonMiddleware",
        "django.middleware.csrf.CsrfViewMiddleware",
        "django.contrib.auth.middleware.AuthenticationMiddleware",
        "django.middleware.clickjacking.XFrameOptionsMiddleware",
    ],
    DATABASES={
        "default": {
            "ENGINE": "django.db.backends.sqlite3",
            "NAME": f"{HOME}/naive.sqlite3",
            "CONN_MAX_AGE": None,
            "OPTIONS": {
                "timeout": 20,
                "transaction_mode": "IMMEDIATE",
                "init_command": "PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL;",
            },
        }
    },
    REST_FRAMEWORK={
        "DEFAULT_AUTHENTICATION_CLASSES": ["bench.peers.naive_app.authentication.KeyAuthentication"],
        "DEFAULT_PERMISSION_CLASSES": ["rest_framework.permissions.IsAuthenticated"],
        "DEFAULT_RENDERER_CLASSES": ["rest_framework.renderers.JSONRenderer"],
        "DEFAULT_PAGINATION_CLASS": "rest_framework.pagination.LimitOffsetPagination",
        "DEFAULT_THROTTLE_CLASSES": ["rest_framework.throttling.UserRateThrottle"],
        "DEFAULT_THROTTLE_RATES": {"user": "100000000/hour"},
        "PAGE_SIZE": 20,
    },
)
django.setup()

from django.core.wsgi import get_wsgi_application  # noqa: E402  (settings come first)

application = get_wsgi_application()


def make(instances: int = 20) -> str:
    from django.db import connection

    from bench.peers.naive_app.models import Instance, Key, Region, SshKey, Type, User

    with connection.schema_editor() as editor:
        for model in (User, Key, Region, Type, SshKey, Instance):
            editor.create_model(model)
    user, key = User.objects.create(name="bench"), "naive-key"
    Key.objects.create(user=user, digest=sha256(key.encode()).hexdigest())
    region = Region.objects.create(slug="us-west-1", name="US West", country="US")
    kind = Type.objects.create(slug="compute-4x", vcpus=4, memory_mb=4096, disk_gb=40)
    ssh = [SshKey.objects.create(user=user, name=f"key {n}", public_key="ssh-ed25519 AAAA") for n in range(2)]
    for number in range(instances):
        row = Instance.objects.create(
            user=user, name=f"instance-{number}", region=region, type=kind, tags={"env": "prod"}
        )
        row.ssh_keys.set(ssh)
    return key


if __name__ == "__main__":
    print(make())
