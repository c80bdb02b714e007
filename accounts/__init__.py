"""Who may do what: users, accounts, memberships and API keys."""
