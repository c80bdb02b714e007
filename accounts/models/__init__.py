from accounts.models.account import Account
from accounts.models.api_key import ApiKey
from accounts.models.audit_seal import AuditSeal
from accounts.models.membership import Membership
from accounts.models.oauth_app import OAuthApp
from accounts.models.oauth_code import OAuthCode, OAuthDevice
from accounts.models.oauth_token import OAuthPair, OAuthToken
from accounts.models.use import HourOfUse, RecentUse
from accounts.models.user import User
from accounts.models.viewing import Viewing

__all__ = [
    "Account",
    "ApiKey",
    "AuditSeal",
    "HourOfUse",
    "Membership",
    "OAuthApp",
    "OAuthCode",
    "OAuthDevice",
    "OAuthPair",
    "OAuthToken",
    "RecentUse",
    "User",
    "Viewing",
]
