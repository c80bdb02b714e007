"""What can happen to accounts and their keys."""

from core.events import declare

declare(
    {
        "account.updated": "An account was created or its name or plan changed.",
        "account.suspended": "The operator suspended the account: nothing can be changed until it is resumed.",
        "account.resumed": "The operator resumed the account.",
        "member.joined": "A user became a member of the account.",
        "api_key.created": "An API key was made.",
        "api_key.updated": "An API key's name or allowed addresses changed.",
        "api_key.rotated": "An API key was replaced; the old one works until its overlap ends.",
        "api_key.expiring": "An API key expires in 14, 3 or 1 days.",
        "api_key.revoked": "An API key was revoked and no longer works.",
    }
)
