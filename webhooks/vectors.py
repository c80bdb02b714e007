"""Deliveries with known secrets, published so that receivers can test how they verify. Always the same bytes."""

from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from core import ids
from webhooks import signing

_ID = ids.encode("evt", UUID("019a0000-0000-7000-8000-000000000001"))
_INSTANCE = ids.encode("inst", UUID("019a0000-0000-7000-8000-000000000002"))
_AT = datetime(2026, 1, 24, 10, 30, tzinfo=UTC)
_GIVEN = "your-webhook-secret"
_MADE = "whsec_MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY="
_CASES = [
    ("a secret of your own", [_GIVEN], "my-instance"),
    ("a generated secret", [_MADE], "my-instance"),
    ("quotes, emoji, and what some encoders escape", [_GIVEN], "\"q\" 'a' \\ </script> & 🚀 é \u2028 \u2029 \x7f \t"),
    ("during a rotation", [_GIVEN, _MADE], "λ"),
]


def published() -> list[dict[str, Any]]:
    """name, secrets, unsigned and body as text, headers."""
    found = []
    for name, secrets, instance in _CASES:
        data = {"instance_id": _INSTANCE, "name": instance, "status": "running"}
        content = signing.unsigned(_ID, "instance.created", _AT, "instance", data)
        signed = signing.sign(_ID, content, _AT, secrets)
        found.append(
            {
                "name": name,
                "secrets": secrets,
                "unsigned": content.decode(),
                "body": signed.body.decode(),
                "headers": signed.headers,
            }
        )
    return found
