"""Settings of the tests: the real ones, in a folder of this test process alone, with the scripted driver."""

import atexit
import os
import shutil
import tempfile

# Short and directly under /tmp: the path of a unix socket has 107 bytes at most.
_home = tempfile.mkdtemp(prefix="lambda-test-", dir="/tmp")
atexit.register(shutil.rmtree, _home, ignore_errors=True)
os.environ["LAMBDA_HOME"] = _home
os.environ["LAMBDA_DRIVER"] = os.environ["LAMBDA_RUNNER"] = "fake"
os.environ["LAMBDA_LOG_LEVEL"] = "WARNING"
os.environ.pop("LAMBDA_MODE", None)

if url := os.environ.get("LAMBDA_REDIS_URL"):  # a database of its own for each worker of pytest-xdist
    number = os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw")
    os.environ["LAMBDA_REDIS_URL"] = f"{url.rsplit('/', 1)[0]}/{number}"

from config.settings import *  # noqa: E402, F403
from config.settings import DATABASES, LAMBDA_HOME  # noqa: E402

# A file, not memory: several connections, locks and WAL as in life.
DATABASES["default"]["TEST"] = {"NAME": str(LAMBDA_HOME / "test.sqlite3")}
if DATABASES["default"]["ENGINE"].endswith("postgresql"):
    DATABASES["default"]["TEST"] = {}

PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]  # argon2 is slow on purpose
CELERY_BROKER_URL = "memory://"
WHITENOISE_AUTOREFRESH = True  # every test client would read the list of all static files
