"""How the web process serves (`gunicorn -c python:config.gunicorn config.wsgi`), for `up` and in production.

Threads (`workers.py`), not ASGI: under this load WSGI needs a third to a seventh of the time. gunicorn hands on λ in
headers.
"""

import os

workers = int(os.environ.get("LAMBDA_WEB_WORKERS", "2"))
worker_class = "config.workers.Worker"
threads = int(os.environ.get("LAMBDA_WEB_THREADS", "8"))
graceful_timeout = 3  # seconds; a long poll that is cut is asked again by its client
control_socket_disable = True
# Who may say X-Forwarded-* is decided in one place, LAMBDA_TRUSTED_PROXIES, not here.
forwarded_allow_ips = ""
loglevel = "warning"  # the application logs its requests itself
