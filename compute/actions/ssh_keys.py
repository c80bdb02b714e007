"""SSH keys: every write."""

import base64
from hashlib import sha256

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.dsa import DSAPublicKey
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey

from accounts.models import Account
from compute.models import SshKey
from core import events
from core.context import Actor
from core.db import atomic_write
from core.errors import Conflict, Invalid, LimitExceeded, NotFound, checked_name
from core.models import Counter

MIN_RSA_BITS = 2048


class SshKeyExists(Conflict):
    pass


class SshKeyQuotaExceeded(LimitExceeded):
    pass


@atomic_write()
def add(*, account: Account, by: Actor, name: str, public_key: str) -> SshKey:
    """One more public key.

    Records: ssh_key.added. Raises: Invalid, SshKeyExists (with the existing id), SshKeyQuotaExceeded.
    """
    line = _line(public_key)
    fingerprint = _fingerprint(line)
    name = checked_name(name)
    limit = account.plan.max_ssh_keys
    # First, as it locks: of two who add the same key at once, the second sees the first one's.
    used = Counter.add(account, ssh_key=1)["ssh_key"] - 1
    mine = SshKey.objects.for_account(account)
    if existing := mine.filter(fingerprint=fingerprint).first():
        raise SshKeyExists(f"This public key is already here as '{existing.name}'", existing_id=existing.public_id)
    if used >= limit:
        message = f"The plan {account.plan.name} allows {limit} SSH keys, and {used} are in use"
        raise SshKeyQuotaExceeded(message, suggestion="Remove one first.", limit=limit, used=used, requested=1)
    key = SshKey.objects.create(account=account, name=name, public_key=line, fingerprint=fingerprint)
    events.record("ssh_key.added", account=account, by=by, subject=key)
    return key


@atomic_write()
def ensure(*, account: Account, by: Actor, public_key: str) -> SshKey:
    """The account's key with this public half; added, named by its comment, where there is none.

    Records: ssh_key.added. Raises: Invalid, SshKeyQuotaExceeded.
    """
    line = _line(public_key)
    known = SshKey.objects.for_account(account).filter(fingerprint=_fingerprint(line)).first()
    comment = " ".join(line.split()[2:])[:100]
    return known or add(account=account, by=by, name=comment or "pasted key", public_key=line)


@atomic_write()
def generate(*, account: Account, by: Actor, name: str) -> tuple[SshKey, str]:
    """A new Ed25519 pair: the key and its private half in OpenSSH's format, which is kept nowhere.

    Records: ssh_key.added.
    """
    private = Ed25519PrivateKey.generate()
    text = private.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.OpenSSH, serialization.NoEncryption()
    ).decode()
    public = private.public_key().public_bytes(serialization.Encoding.OpenSSH, serialization.PublicFormat.OpenSSH)
    return add(account=account, by=by, name=name, public_key=public.decode()), text


@atomic_write()
def rename(*, key: SshKey, by: Actor, name: str) -> SshKey:
    """Records: ssh_key.updated. Raises: Invalid, NotFound where it was removed meanwhile."""
    found = SshKey.objects.select_for_update(of=("self",)).select_related("account").filter(pk=key.pk).first()
    if found is None:
        raise NotFound(f"Resource not available: the SSH key '{key.name}' was removed")
    key = found
    key.name = checked_name(name)
    key.save(update_fields=["name", "updated_at"])
    events.record("ssh_key.updated", account=key.account, by=by, subject=key)
    return key


@atomic_write()
def remove(*, key: SshKey, by: Actor) -> None:
    """Forget a key; instances that were made with it keep it. Records: ssh_key.removed."""
    if not SshKey.objects.filter(pk=key.pk).delete()[0]:
        return  # somebody else removed it just now
    Counter.add(key.account, ssh_key=-1)
    events.record("ssh_key.removed", account=key.account, by=by, subject=key)


def _line(text: str) -> str:
    """A public key as one normal line, or Invalid saying what is wrong with it."""
    line = " ".join(text.split())
    if "PRIVATE KEY" in line:
        message = "This is a private key. Never send it anywhere: paste the .pub file beside it"
        raise Invalid.field("public_key", message)
    if len(text.strip().splitlines()) > 1:  # joined they would read as one key whose comment is the other
        message = "public_key must be one key on one line: add several one by one"
        raise Invalid.field("public_key", message, value=text[:80])
    try:
        key = serialization.load_ssh_public_key(line.encode())
    except (ValueError, UnsupportedAlgorithm) as wrong:
        message = "public_key must be one OpenSSH line, such as 'ssh-ed25519 AAAA… you@laptop'"
        raise Invalid.field("public_key", message, value=line[:80]) from wrong
    if isinstance(key, DSAPublicKey):
        raise Invalid.field("public_key", "DSA keys are no longer safe: make one with 'ssh-keygen -t ed25519'")
    if isinstance(key, RSAPublicKey) and key.key_size < MIN_RSA_BITS:
        message = f"An RSA key needs at least {MIN_RSA_BITS} bits, this one has {key.key_size}"
        raise Invalid.field("public_key", message)
    return line


def _fingerprint(line: str) -> str:
    digest = sha256(base64.b64decode(line.split()[1])).digest()
    return "SHA256:" + base64.b64encode(digest).decode().rstrip("=")
