"""The composition root: the only package that knows every app.

Celery's application is loaded here so that whoever imports Django's settings can also enqueue a task by name.
"""

from config.celery import app as celery_app

__all__ = ["celery_app"]
