"""Every setting, and the only place that reads the environment. What can go wrong in production is in `checks.py`.

It is long because there is one list of settings, in which whoever runs Lambda finds all of them.

Development is the default, on loopback only: it makes its own secrets and keeps everything under `var/`.
`LAMBDA_MODE=production` demands secrets and HTTPS, and `manage.py check --deploy` names what is missing.
"""

from pathlib import Path
from urllib.parse import urlsplit

from config import env, logs

BASE_DIR = Path(__file__).resolve().parent.parent

# --- This installation

LAMBDA_MODE = env.choice("LAMBDA_MODE", ("development", "production"))
PRODUCTION = LAMBDA_MODE == "production"
# Everything Lambda writes is below this folder. Its owner alone may look inside: it holds keys.
LAMBDA_HOME = Path(env.text("LAMBDA_HOME") or BASE_DIR / "var").expanduser().resolve()
LAMBDA_HOME.mkdir(mode=0o700, parents=True, exist_ok=True)
# Where people reach the dashboard and the API; links in mails and samples begin with it.
LAMBDA_BASE_URL = env.text("LAMBDA_BASE_URL", "http://localhost:8000").rstrip("/")
# Plain HTTP would send API keys in the clear; on one's own machine nobody listens.
LAMBDA_REQUIRE_HTTPS = env.flag("LAMBDA_REQUIRE_HTTPS", PRODUCTION)
# CIDRs of the proxies whose X-Forwarded-For and X-Forwarded-Proto are believed.
LAMBDA_TRUSTED_PROXIES = env.words("LAMBDA_TRUSTED_PROXIES", [])
# What runs the instances. "fake" is for tests of what stands above the driver.
LAMBDA_DRIVER = env.choice("LAMBDA_DRIVER", ("local", "fake"))
LAMBDA_NODE_HOME = LAMBDA_HOME / "node"
# What runs the functions.
LAMBDA_RUNNER = env.choice("LAMBDA_RUNNER", ("local", "fake"))
LAMBDA_RUNNER_HOME = LAMBDA_HOME / "runner"
# Where webhooks may be sent beyond the Internet: CIDRs, and `loopback` for http://127.0.0.1, [::1] and localhost.
LAMBDA_WEBHOOK_ALLOW = env.targets("LAMBDA_WEBHOOK_ALLOW")
# What several machines share: limits, revocation, cache and task queue. One machine needs none.
LAMBDA_REDIS_URL = env.text("LAMBDA_REDIS_URL")

# --- Secrets: from NAME, from the file NAME_FILE, or (development) made once in var/secrets/

SECRETS = LAMBDA_HOME / "secrets"
SECRET_KEY = env.secret("LAMBDA_SECRET_KEY", SECRETS, generate=not PRODUCTION)
# Mixed into the hash of every API key: a stolen database alone can neither verify nor guess one.
LAMBDA_KEY_PEPPER = env.secret("LAMBDA_KEY_PEPPER", SECRETS, generate=not PRODUCTION).encode()
# Sign access tokens. The first signs, all verify: put a new one in front, and remove the old one 30 days later.
LAMBDA_TOKEN_KEYS = env.secret("LAMBDA_TOKEN_KEYS", SECRETS, generate=not PRODUCTION).replace(",", " ").split()

# --- Django

DEBUG = env.flag("LAMBDA_DEBUG", False)
ALLOWED_HOSTS = env.words(
    "LAMBDA_ALLOWED_HOSTS", [urlsplit(LAMBDA_BASE_URL).hostname or "localhost", "localhost", "127.0.0.1", "[::1]"]
)
ROOT_URLCONF = "config.urls"
WSGI_APPLICATION = "config.wsgi.application"
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
TIME_ZONE = "UTC"
USE_TZ = True
USE_I18N = False
LANGUAGE_CODE = "en-gb"

INSTALLED_APPS = [
    "django.contrib.admin",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "django.contrib.staticfiles",
    "django.contrib.humanize",
    "config",
    "oauth2_provider",
    "core",
    "api",
    "dashboard",
    "catalog",
    "accounts",
    "compute",
    "functions",
    "billing",
    "webhooks",
    "allauth",
    "allauth.account",
    "allauth.mfa",
    "allauth.usersessions",
    "rest_framework",
    "django_filters",
    "drf_spectacular",
    "django_htmx",
    "csp",
    "lucide",
]

MIDDLEWARE = [
    "api.middleware.RequestIdMiddleware",  # outermost: every answer and log line carries the id
    "api.middleware.ApiMiddleware",  # /v1 ends here; what follows is for the dashboard
    "django.middleware.security.SecurityMiddleware",
    "whitenoise.middleware.WhiteNoiseMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "accounts.middleware.AccountMiddleware",  # which account, and may the role open the page
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
    "allauth.account.middleware.AccountMiddleware",
    "django_htmx.middleware.HtmxMiddleware",
    "csp.middleware.CSPMiddleware",
]

TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "DIRS": [BASE_DIR / "templates"],
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
            ],
        },
    }
]

# --- Data

DATABASES = {"default": env.database("LAMBDA_DATABASE_URL", LAMBDA_HOME / "lambda.sqlite3")}
# Never ATOMIC_REQUESTS: every GET would become a writer. `core.db.atomic_write` opens the transactions.

CACHES = {
    # Shared by all web processes, or allauth would count sign-in attempts per process.
    "default": {"BACKEND": "django.core.cache.backends.redis.RedisCache", "LOCATION": LAMBDA_REDIS_URL}
    if LAMBDA_REDIS_URL
    else {"BACKEND": "django.core.cache.backends.filebased.FileBasedCache", "LOCATION": LAMBDA_HOME / "cache"}
}

# --- Static files

STATIC_URL = "/static/"
STATIC_ROOT = LAMBDA_HOME / "static" if PRODUCTION else None  # for collectstatic
STATICFILES_DIRS = [BASE_DIR / "static"]
STORAGES = {
    "default": {"BACKEND": "django.core.files.storage.FileSystemStorage"},
    # Hashed and compressed names need `collectstatic`, which one's own machine should not have to wait for.
    "staticfiles": {
        "BACKEND": "whitenoise.storage.CompressedManifestStaticFilesStorage"
        if PRODUCTION
        else "django.contrib.staticfiles.storage.StaticFilesStorage"
    },
}
WHITENOISE_USE_FINDERS = not PRODUCTION
WHITENOISE_AUTOREFRESH = DEBUG
WHITENOISE_MAX_AGE = 60 if PRODUCTION else 0  # seconds; hashed names are cached for ever all the same

# --- People: sign-up, sign-in and mail (django-allauth)

AUTH_USER_MODEL = "accounts.User"
AUTHENTICATION_BACKENDS = ["allauth.account.auth_backends.AuthenticationBackend"]
PASSWORD_HASHERS = [
    "django.contrib.auth.hashers.Argon2PasswordHasher",
    "django.contrib.auth.hashers.PBKDF2PasswordHasher",
]
AUTH_PASSWORD_VALIDATORS = [
    {"NAME": "django.contrib.auth.password_validation.UserAttributeSimilarityValidator"},
    {"NAME": "django.contrib.auth.password_validation.MinimumLengthValidator", "OPTIONS": {"min_length": 10}},
    {"NAME": "django.contrib.auth.password_validation.CommonPasswordValidator"},
    {"NAME": "django.contrib.auth.password_validation.NumericPasswordValidator"},
]
ACCOUNT_ADAPTER = "accounts.adapter.AccountAdapter"  # gives a new user an account
LOGIN_REDIRECT_URL = "/"
LOGIN_URL = "/accounts/login/"
ACCOUNT_USER_MODEL_USERNAME_FIELD = None
ACCOUNT_LOGIN_METHODS = {"email"}
ACCOUNT_SIGNUP_FIELDS = ["email*", "password1*"]
# Whoever has not proved an address must not hold an account under it.
ACCOUNT_EMAIL_VERIFICATION = "mandatory"
ACCOUNT_LOGIN_ON_EMAIL_CONFIRMATION = True
ACCOUNT_PREVENT_ENUMERATION = True
ACCOUNT_DEFAULT_HTTP_PROTOCOL = urlsplit(LAMBDA_BASE_URL).scheme
ACCOUNT_EMAIL_SUBJECT_PREFIX = ""
ACCOUNT_EMAIL_NOTIFICATIONS = True  # a mail for whoever did not change the password or a factor themselves

# Second factors and passkeys. Who proved within this time that it is them, by signing in or again, may see new secrets.
ACCOUNT_REAUTHENTICATION_TIMEOUT = 15 * 60  # seconds
MFA_ADAPTER = "accounts.adapter.MfaAdapter"
MFA_SUPPORTED_TYPES = ["totp", "webauthn", "recovery_codes"]
MFA_TOTP_ISSUER = "Lambda"
MFA_PASSKEY_LOGIN_ENABLED = True
MFA_RECOVERY_CODES_SHOW_ONCE = True
MFA_WEBAUTHN_ALLOW_INSECURE_ORIGIN = not PRODUCTION  # passkeys at http://localhost, which browsers allow

# smtp://user:password@host:port, smtp+tls:// for STARTTLS, smtps:// for TLS from the start; without it mails are files.
DEFAULT_FROM_EMAIL = env.text("LAMBDA_MAIL_FROM", "Lambda <lambda@localhost>")
SERVER_EMAIL = DEFAULT_FROM_EMAIL
_mail = urlsplit(env.text("LAMBDA_MAIL_URL"))
EMAIL_BACKEND = f"django.core.mail.backends.{'smtp' if _mail.scheme else 'filebased'}.EmailBackend"
EMAIL_FILE_PATH = LAMBDA_HOME / "mail"
EMAIL_HOST, EMAIL_PORT = _mail.hostname or "", _mail.port or 25
EMAIL_HOST_USER, EMAIL_HOST_PASSWORD = _mail.username or "", _mail.password or ""
EMAIL_USE_TLS, EMAIL_USE_SSL = _mail.scheme == "smtp+tls", _mail.scheme == "smtps"
EMAIL_TIMEOUT = 10  # seconds

# --- OAuth 2.0 (django-oauth-toolkit; what it asks of us is in accounts/oauth.py)

OAUTH2_PROVIDER_APPLICATION_MODEL = "accounts.OAuthApp"
OAUTH2_PROVIDER = {
    "OAUTH2_VALIDATOR_CLASS": "accounts.oauth.Validator",
    "SCOPES_BACKEND_CLASS": "accounts.oauth.Scopes",
    "OIDC_ISS_ENDPOINT": LAMBDA_BASE_URL,  # the issuer, also without OpenID Connect
    "OAUTH_PRE_TOKEN_VALIDATION": [],  # looks for devices in the toolkit's table: ours are checked by our verb
    "PKCE_REQUIRED": True,
    "ALLOWED_REDIRECT_URI_SCHEMES": ["https"],  # an app may have others: accounts/actions/oauth_apps.py
    "REFRESH_TOKEN_REUSE_PROTECTION": True,
    "COMPLIANT_BCP_RFC9700_ACCESS_TOKEN_TRANSPORT": True,
    "COMPLIANT_BCP_RFC9700_AUTHZ_RESPONSE_ISS": True,
    "COMPLIANT_BCP_RFC9700_IMPLICIT_GRANT": True,
    "COMPLIANT_BCP_RFC9700_PASSWORD_GRANT": True,
    "COMPLIANT_BCP_RFC9700_PKCE_METHOD": True,
    "COMPLIANT_BCP_RFC9700_PKCE_REQUIRED": True,
    "COMPLIANT_BCP_RFC9700_REDIRECT_URI_MATCHING": True,
    "COMPLIANT_BCP_RFC9700_REDIRECT_URI_SCHEME": True,
    "COMPLIANT_BCP_RFC9700_REFRESH_TOKEN": True,
    "COMPLIANT_BCP_RFC9700_TOKEN_STORAGE": True,
    "OAUTH2_RESPONSE_TYPES_SUPPORTED": ["code"],
    "OAUTH2_TOKEN_ENDPOINT_AUTH_METHODS_SUPPORTED": ["client_secret_basic", "client_secret_post", "none"],
    "OAUTH2_GRANT_TYPES_SUPPORTED": [
        "authorization_code",
        "refresh_token",
        "client_credentials",
        "urn:ietf:params:oauth:grant-type:device_code",
    ],
}

# --- The API

REST_FRAMEWORK = {
    "DEFAULT_AUTHENTICATION_CLASSES": [
        "accounts.authentication.BearerAuthentication",
        "accounts.authentication.DashboardSessionAuthentication",
    ],
    "DEFAULT_PERMISSION_CLASSES": ["api.permissions.HasScope"],
    "DEFAULT_RENDERER_CLASSES": ["api.renderers.EnvelopeRenderer", "api.browsable.BrowsableRenderer"],
    "DEFAULT_PARSER_CLASSES": ["api.parsers.StrictJSONParser"],
    "DEFAULT_SCHEMA_CLASS": "api.openapi.OperationSchema",
    "DEFAULT_PAGINATION_CLASS": None,
    "URL_FORMAT_OVERRIDE": None,  # `?format=` is a parameter like any other: refused where a view does not know it
    "EXCEPTION_HANDLER": "api.errors.exception_handler",
    "UNAUTHENTICATED_USER": None,
}
SPECTACULAR_SETTINGS = {
    "TITLE": "Lambda API",
    "DESCRIPTION": "A compute cloud of your own: instances, functions, and everything around them.",
    "VERSION": "1.0.0",
    "OAS_VERSION": "3.1.1",
    "SCHEMA_PATH_PREFIX": "/v1",
    "SORT_OPERATIONS": False,  # as the URL lists tell them
    "SORT_OPERATION_PARAMETERS": False,
    "COMPONENT_SPLIT_PATCH": False,  # a partial body has its own Input
    "POSTPROCESSING_HOOKS": ["api.openapi.add_what_all_share"],
    "ENABLE_DJANGO_DEPLOY_CHECK": False,  # what the schema says is no matter of deployment
}

# --- Browser security

CONTENT_SECURITY_POLICY = {
    "DIRECTIVES": {
        "default-src": ["'none'"],
        "script-src": ["'self'"],
        "style-src": ["'self'"],
        "img-src": ["'self'", "data:"],
        "connect-src": ["'self'"],
        "font-src": ["'self'"],
        "form-action": ["'self'"],
        "frame-ancestors": ["'none'"],
        "base-uri": ["'none'"],
    }
}
SESSION_COOKIE_SECURE = CSRF_COOKIE_SECURE = LAMBDA_REQUIRE_HTTPS
SESSION_COOKIE_NAME, CSRF_COOKIE_NAME = "lambda_session", "lambda_csrf"
CSRF_TRUSTED_ORIGINS = [LAMBDA_BASE_URL]
SECURE_SSL_REDIRECT = False  # a redirect would have read the key already: plain HTTP is refused instead
SECURE_HSTS_SECONDS = 365 * 24 * 3600 if LAMBDA_REQUIRE_HTTPS else 0
# Sub-domains and the browsers' preload list are the business of who owns the domain, and redirecting see above.
SILENCED_SYSTEM_CHECKS = ["security.W005", "security.W008", "security.W021"]
SECURE_REFERRER_POLICY = "same-origin"
X_FRAME_OPTIONS = "DENY"

# --- Celery (see config/celery.py)

# On one machine a folder will do (config/broker.py). Another broker than Redis, such as RabbitMQ, has its own variable.
CELERY_BROKER_URL = env.text("LAMBDA_BROKER_URL", LAMBDA_REDIS_URL or "folder://localhost")
if CELERY_BROKER_URL.startswith("folder:"):
    CELERY_BROKER_TRANSPORT_OPTIONS = {"folder": str(LAMBDA_HOME / "queue")}
CELERY_TASK_IGNORE_RESULT = True
CELERY_TASK_ACKS_LATE = True
CELERY_WORKER_PREFETCH_MULTIPLIER = 1
CELERY_WORKER_POOL = "threads"
CELERY_WORKER_CONCURRENCY = 8
CELERY_WORKER_HIJACK_ROOT_LOGGER = False
CELERY_WORKER_ENABLE_REMOTE_CONTROL = False
CELERY_WORKER_SEND_TASK_EVENTS = False
CELERY_BROKER_CONNECTION_RETRY_ON_STARTUP = True
CELERY_BEAT_SCHEDULE_FILENAME = str(LAMBDA_HOME / "beat")
CELERY_BEAT_SCHEDULE = {
    # `expires` (seconds): after an outage one sweep is enough.
    "compute.sweep": {"task": "compute.sweep", "schedule": 5.0, "options": {"expires": 5}},
    "functions.ingest": {"task": "functions.ingest", "schedule": 0.3, "options": {"expires": 1}},
    "functions.dispatch": {"task": "functions.dispatch", "schedule": 2.0, "options": {"expires": 2}},
    "functions.sweep": {"task": "functions.sweep", "schedule": 5.0, "options": {"expires": 5}},
    "functions.prune": {"task": "functions.prune", "schedule": 3600.0, "options": {"expires": 3600}},
    "accounts.seal_audit_log": {"task": "accounts.seal_audit_log", "schedule": 1.0, "options": {"expires": 1}},
    "config.heartbeat": {"task": "config.heartbeat", "schedule": 5.0, "options": {"expires": 5}},
    "accounts.warn_of_expiring_keys": {
        "task": "accounts.warn_of_expiring_keys",
        "schedule": 3600.0,
        "options": {"expires": 3600},
    },
    "accounts.sweep_invitations": {
        "task": "accounts.sweep_invitations",
        "schedule": 600.0,
        "options": {"expires": 600},
    },
    "accounts.end_viewings": {"task": "accounts.end_viewings", "schedule": 60.0, "options": {"expires": 60}},
    "accounts.purge_oauth": {"task": "accounts.purge_oauth", "schedule": 3600.0, "options": {"expires": 3600}},
    "accounts.purge_uses": {"task": "accounts.purge_uses", "schedule": 3600.0, "options": {"expires": 3600}},
    "webhooks.sweep": {"task": "webhooks.sweep", "schedule": 600.0, "options": {"expires": 600}},
    "api.purge_idempotency": {"task": "api.purge_idempotency", "schedule": 3600.0, "options": {"expires": 3600}},
}

# --- Logs

LOGGING_CONFIG = None
logs.configure(json=PRODUCTION, level=env.text("LAMBDA_LOG_LEVEL", "INFO"))
