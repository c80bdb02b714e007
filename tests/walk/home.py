"""An installation of its own in a temporary folder, with the showcase's scripted driver. No tests.

`begin` comes before anything of Django's or of ours is imported: settings are read once.
"""

import os


def begin(home: str) -> None:
    """The settings of `up`, an empty database, and Django ready to be used in this process."""
    for name in [name for name in os.environ if name.startswith(("LAMBDA_", "DJANGO_"))]:
        del os.environ[name]
    os.environ |= {
        "LAMBDA_HOME": home,
        "LAMBDA_DRIVER": "fake",
        "LAMBDA_RUNNER": "fake",
        "LAMBDA_LOG_LEVEL": "CRITICAL",
    }
    os.environ |= {"DJANGO_SETTINGS_MODULE": "config.settings", "LAMBDA_NO_BOOTSTRAP": "1"}
    import django

    django.setup()
    from django.core.management import call_command

    call_command("migrate", verbosity=0)
