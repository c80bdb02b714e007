from django.apps import apps
from django.contrib import admin, messages
from django.contrib.auth.models import Group
from django.db.models import Model

from accounts.actions import accounts, api_keys, oauth_tokens
from accounts.models import Account, ApiKey, AuditSeal, Membership, OAuthApp, OAuthToken, User
from core.admin import Binding, ReadOnly

admin.site.unregister(Group)  # roles are memberships
# The toolkit's tables stay empty (see accounts/oauth.py), and its page of our apps could change them without a verb.
_toolkit: list[type[Model]] = [OAuthApp, *apps.get_app_config("oauth2_provider").get_models()]
for _model in _toolkit:
    if admin.site.is_registered(_model):
        admin.site.unregister(_model)


class MembershipInline(admin.TabularInline):
    model = Membership
    extra = 0
    autocomplete_fields = ["user", "account"]


class OfUser(MembershipInline):
    fk_name = "user"


@admin.register(User)
class UserAdmin(Binding):
    list_display = ["email", "name", "is_active", "is_staff", "last_login", "created_at"]
    list_filter = ["is_active", "is_staff"]
    search_fields = ["email", "name"]
    fields = ["email", "name", "is_active", "is_staff", "is_superuser", "last_login"]
    readonly_fields = ["last_login"]
    inlines = [OfUser]


@admin.register(Account)
class AccountAdmin(Binding):
    """Name, plan and suspension go through the verbs, so that they are recorded and bind at once."""

    list_display = ["name", "public_id", "plan", "status", "created_at"]
    list_filter = ["plan"]
    list_select_related = ["plan"]
    search_fields = ["name", "id"]
    readonly_fields = ["public_id", "status", "suspended_at", "suspended_reason", "require_mfa", "created_at"]
    fields = ["name", "plan", *readonly_fields]
    inlines = [MembershipInline]
    actions = ["suspend", "resume"]

    def save_model(self, request, obj, form, change):
        if not change:
            return super().save_model(request, obj, form, change)
        stored = Account.objects.get(pk=obj.pk)
        if "name" in form.changed_data:
            accounts.update(account=stored, name=obj.name, by=request.user.actor)
        if "plan" in form.changed_data:
            accounts.change_plan(account=stored, plan=obj.plan.slug, by=request.user.actor)

    @admin.action(description="Suspend (nothing can be changed; what runs goes on)")
    def suspend(self, request, queryset):
        for account in queryset:
            accounts.suspend(account=account, reason="Suspended by the operator.", by=request.user.actor)
        messages.success(request, "Suspended.")

    @admin.action(description="Resume")
    def resume(self, request, queryset):
        for account in queryset:
            accounts.resume(account=account, by=request.user.actor)
        messages.success(request, "Resumed.")


@admin.register(Membership)
class MembershipAdmin(Binding):
    list_display = ["user", "account", "role"]
    list_filter = ["role"]
    list_select_related = ["user", "account"]
    search_fields = ["user__email", "account__name"]
    autocomplete_fields = ["user", "account"]


@admin.register(ApiKey)
class ApiKeyAdmin(admin.ModelAdmin):
    """Keys are looked at and revoked here; only their owners make them, and only they see them."""

    list_display = ["name", "account", "hint", "status", "last_used_at", "expires_at", "created_at"]
    list_select_related = ["account"]
    search_fields = ["name", "hint", "account__name"]
    exclude = ["digest"]
    actions = ["revoke"]

    def has_add_permission(self, request):
        return False

    def has_change_permission(self, request, obj=None):
        return False

    def has_delete_permission(self, request, obj=None):
        return False

    @admin.action(description="Revoke at once", permissions=["view"])
    def revoke(self, request, queryset):
        for key in queryset:
            api_keys.revoke(key=key, by=request.user.actor)
        messages.success(request, "Revoked.")


@admin.register(OAuthApp)
class OAuthAppAdmin(ReadOnly):
    list_display = ["name", "client_id", "account", "user", "authorization_grant_type", "created_at"]
    list_select_related = ["account", "user"]
    search_fields = ["name", "client_id", "account__name"]
    exclude = ["client_secret"]


@admin.register(OAuthToken)
class OAuthTokenAdmin(ReadOnly):
    """Tokens are looked at and revoked here; only people make them, and only they see them."""

    list_display = ["name", "account", "user", "app", "status", "last_used_at", "expires_at", "created_at"]
    list_select_related = ["account", "user", "app"]
    search_fields = ["name", "account__name", "user__email"]
    actions = ["revoke"]

    @admin.action(description="Revoke at once", permissions=["view"])
    def revoke(self, request, queryset):
        for token in queryset:
            oauth_tokens.revoke(token=token, by=request.user.actor, why="revoked by the operator")
        messages.success(request, "Revoked.")


@admin.register(AuditSeal)
class AuditSealAdmin(ReadOnly):
    list_display = ["number", "event_seq", "hash"]
