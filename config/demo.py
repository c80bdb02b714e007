"""The demo account that `up` makes so that the first minute ends in a shell. Every step may be repeated.

What people need of it is kept in LAMBDA_HOME: `demo.env` (sign-in and API key) and `demo_ssh_key`, readable by the
owner alone.
"""

import os
import secrets
from dataclasses import dataclass
from pathlib import Path

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from django.conf import settings

from accounts.actions import accounts, api_keys
from accounts.models import Account, ApiKey, Membership, User
from accounts.models.api_key import Secret
from core.context import SYSTEM, acting
from core.db import atomic_write

NAME = "demo"
EMAIL = "demo@lambda.local"


@dataclass(frozen=True)
class Demo:
    """Password of `EMAIL`, and the API key in its λ spelling."""

    password: str
    api_key: str
    ssh_key: Path

    @property
    def ssh_public_key(self) -> str:
        return self.ssh_key.with_suffix(".pub").read_text().strip()


def seed() -> Demo:
    """The demo user, account, API key and SSH key pair: made where they are missing, else left alone."""
    home = settings.LAMBDA_HOME
    kept = read_env(home / "demo.env")
    ssh_key = home / "demo_ssh_key"
    if not ssh_key.exists():
        make_ssh_key(ssh_key)
    with acting(through="cli"), atomic_write():
        password = kept.get("LAMBDA_DEMO_PASSWORD", "")
        user = User.objects.filter(email=EMAIL).first()
        if user is None or not password:
            password = secrets.token_urlsafe(12)
            user = user or accounts.create_user(email=EMAIL, name="Demo", by=SYSTEM)
            user.set_password(password)
            user.is_staff = user.is_superuser = True  # whoever runs `up` operates this installation
            user.save()
        member = Membership.objects.filter(user=user, role=Membership.Role.OWNER).select_related("account").first()
        account = member.account if member else accounts.create(name=NAME, owner=user, plan="enterprise", by=SYSTEM)
        demo = Demo(password, kept_key(account, kept) or new_key(account, user), ssh_key)
        # Before the commit: a key in the file that the database does not know is replaced next time, but one that
        # only the database knows would be lost.
        content = f"LAMBDA_DEMO_EMAIL={EMAIL}\nLAMBDA_DEMO_PASSWORD={password}\nLAMBDA_API_KEY={demo.api_key}\n"
        write_private(home / "demo.env", content.encode())
    return demo


def read_env(path: Path) -> dict[str, str]:
    if not path.exists():
        return {}
    return dict(line.split("=", 1) for line in path.read_text().splitlines() if "=" in line)


def kept_key(account: Account, kept: dict[str, str]) -> str:
    """The API key of the last run, if it still works."""
    secret = Secret.parse(kept.get("LAMBDA_API_KEY", ""))
    works = secret and ApiKey.objects.for_account(account).working().filter(digest=secret.digest).exists()
    return secret.key if secret and works else ""


def new_key(account: Account, user: User) -> str:
    owner = Membership.objects.get(account=account, user=user)
    _, secret = api_keys.create(
        account=account, by=SYSTEM, maker=user, name=NAME, scopes=None, grantable=owner.scopes, never_expires=True
    )
    return secret.key


def write_private(path: Path, content: bytes) -> None:
    """A file that its owner alone can read, whole or not at all."""
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    draft.unlink(missing_ok=True)
    with open(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
        file.write(content)
    draft.replace(path)


def make_ssh_key(path: Path) -> None:
    key = Ed25519PrivateKey.generate()
    openssh = serialization.PrivateFormat.OpenSSH
    public = key.public_key().public_bytes(serialization.Encoding.OpenSSH, serialization.PublicFormat.OpenSSH)
    # The private half comes last: where it exists, both do.
    write_private(path.with_suffix(".pub"), public + b" demo@lambda\n")
    write_private(path, key.private_bytes(serialization.Encoding.PEM, openssh, serialization.NoEncryption()))
