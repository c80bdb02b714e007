"""What can happen to accounts and their keys."""

from core.events import declare

declare(
    {
        "account.updated": "An account was created, or its name, its plan or what it asks of members changed.",
        "account.suspended": "The operator suspended the account: nothing can be changed until it is resumed.",
        "account.resumed": "The operator resumed the account.",
        "account.view_started": "An operator began to look at the dashboard as a member sees it, read only.",
        "account.view_ended": "An operator no longer looks at the dashboard as a member.",
        "member.invited": "Somebody was invited to the account, or invited again.",
        "member.joined": "A user became a member of the account.",
        "member.role_changed": "A member, or who is invited, got another role.",
        "member.removed": "A member left or was removed, or an invitation was cancelled.",
        "api_key.created": "An API key was made.",
        "api_key.updated": "An API key's name or allowed addresses changed.",
        "api_key.rotated": "An API key was replaced; the old one works until its overlap ends.",
        "api_key.expiring": "An API key expires in 14, 3 or 1 days.",
        "api_key.revoked": "An API key was revoked and no longer works.",
        "api_token.created": "An OAuth token was made on the dashboard, or a person let an app act for the account.",
        "api_token.revoked": "An OAuth token and its refresh tokens were revoked and no longer work.",
        "oauth_app.created": "An OAuth app was registered.",
        "oauth_app.rotated": "An OAuth app got another secret; the old one no longer works.",
        "oauth_app.deleted": "An OAuth app was deleted, and all its tokens with it.",
    }
)
declare(
    {"user.updated": "An operator changed a user: their name, whether they may sign in, or operate the platform."},
    internal=True,
)
