from accounts.models.account import Account
from accounts.models.api_key import ApiKey
from accounts.models.audit_seal import AuditSeal
from accounts.models.membership import Membership
from accounts.models.user import User

__all__ = ["Account", "ApiKey", "AuditSeal", "Membership", "User"]
