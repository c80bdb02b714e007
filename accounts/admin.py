"""The operators' pages of accounts, people and credentials: what they see and are asked.

Long, because the admin looks for one module in each app.
"""

from importlib import import_module

from allauth.account.models import EmailAddress
from allauth.mfa.models import Authenticator
from allauth.usersessions.models import UserSession
from django import forms
from django.apps import apps
from django.contrib import admin, messages
from django.contrib.auth.models import Group
from django.db.models import Model, OuterRef, Subquery
from django.shortcuts import redirect

from accounts.actions import accounts, api_keys, members, oauth_tokens, viewings
from accounts.middleware import VIEWING_KEY
from accounts.models import Account, ApiKey, AuditSeal, Membership, OAuthApp, OAuthToken, User, Viewing
from accounts.models.use import RecentUse
from accounts.scopes import ROLE_SCOPES
from catalog.models import Plan
from core.admin import Operated, ReadOnly, account_of, badge
from core.models import Counter

admin.site.unregister(Group)  # roles are memberships
# The toolkit's tables stay empty (see accounts/oauth.py), and its page of our apps could change them without a verb.
_toolkit: list[type[Model]] = [OAuthApp, *apps.get_app_config("oauth2_provider").get_models()]
# allauth's own pages show session keys and would let an operator prove addresses and factors of others. They are loaded
# here, or they would come after ours.
for _app in ("account", "mfa", "usersessions"):
    import_module(f"allauth.{_app}.admin")
_allauth: list[type[Model]] = [EmailAddress, Authenticator, UserSession]
for _model in [*_toolkit, *_allauth]:
    if admin.site.is_registered(_model):
        admin.site.unregister(_model)


class ReasonForm(forms.Form):
    reason = forms.CharField(
        max_length=300, widget=forms.Textarea(attrs={"rows": 3}), help_text="The customer reads it."
    )


class PlanForm(forms.Form):
    plan = forms.ModelChoiceField(Plan.objects.on_sale(), to_field_name="slug", empty_label=None)


class RoleForm(forms.Form):
    role = forms.ChoiceField(choices=Membership.Role.choices)


class NewAccountForm(forms.ModelForm):
    owner = forms.ModelChoiceField(
        User.objects.filter(is_active=True),
        to_field_name="email",
        widget=forms.EmailInput,
        help_text="The e-mail address of a user.",
        error_messages={"invalid_choice": "There is no active user with this address. Add the user first."},
    )


class NewUserForm(forms.ModelForm):
    email = forms.EmailField(help_text="They set a password by “Forgot your password?”.")


class Suspended(admin.SimpleListFilter):
    title = parameter_name = "status"

    def lookups(self, request, model_admin):
        return [("active", "active"), ("suspended", "suspended")]

    def queryset(self, request, queryset):
        return queryset.filter(suspended_at__isnull=self.value() == "active") if self.value() else queryset


class Members(admin.TabularInline):
    """Who belongs to whom; a member's own page has what can be done about it."""

    model = Membership
    fk_name = "user"
    template = "admin/members.html"
    fields = ("account", "user", "role", "created_at")
    readonly_fields = ("account", "user", "role", "created_at")
    extra = 0
    can_delete = False
    show_change_link = True

    def has_add_permission(self, request, obj=None):
        return False

    def has_change_permission(self, request, obj=None):
        return False

    def get_queryset(self, request):
        return super().get_queryset(request).select_related("account", "user")


class MembersOfAccount(Members):
    fk_name = "account"


@admin.register(User)
class UserAdmin(Operated):
    list_display = ["email", "name", "public_id", "is_active", "is_staff", "last_login", "created_at"]
    list_filter = ["is_active", "is_staff"]
    search_fields = ["email", "name"]
    search_help_text = "An address, a name, or a user_ id."
    inlines = [Members]

    def get_form(self, request, obj=None, change=False, **kwargs):
        return super().get_form(request, obj, change, **kwargs | ({} if obj else {"form": NewUserForm}))

    def get_fields(self, request, obj=None):
        made = ["public_id", "is_active", "is_staff", "is_superuser", "last_login", "created_at"]
        return ["email", "name", *(made if obj else [])]

    def get_readonly_fields(self, request, obj=None):
        beyond = [] if request.user.is_superuser else ["is_staff", "is_superuser"]  # nobody makes themselves more
        return ["email", "public_id", "last_login", "created_at", *beyond] if obj else []

    def get_inlines(self, request, obj):
        return self.inlines if obj else []

    def has_delete_permission(self, request, obj=None):
        return False  # what they did still names them: switch them off

    def save_model(self, request, obj, form, change):
        by = request.user.actor
        if change:
            facts = {name: getattr(obj, name) for name in ("name", "is_active", "is_staff", "is_superuser")}
            accounts.update_user(user=obj, by=by, **facts)
        else:
            obj.pk = accounts.create_user(email=obj.email, name=obj.name, by=by).pk


@admin.register(EmailAddress)
class EmailAddressAdmin(ReadOnly):
    list_display = ["email", "user", "verified", "primary"]
    list_filter = ["verified"]
    list_select_related = ["user"]
    search_fields = ["email", "user__email"]


@admin.register(Authenticator)
class AuthenticatorAdmin(ReadOnly):
    list_display = ["user", "type", "created_at", "last_used_at"]
    list_filter = ["type"]
    list_select_related = ["user"]
    search_fields = ["user__email"]
    exclude = ["data"]


@admin.register(UserSession)
class UserSessionAdmin(ReadOnly):
    list_display = ["user", "ip", "user_agent", "created_at", "last_seen_at"]
    list_select_related = ["user"]
    search_fields = ["user__email", "ip"]
    exclude = ["session_key", "data"]


@admin.register(Account)
class AccountAdmin(Operated):
    list_display = ["name", "public_id", "plan", "state", "instances", "created_at"]
    list_filter = ["plan", Suspended]
    list_select_related = ["plan"]
    search_fields = ["name", "memberships__user__email"]
    search_help_text = "A name, the address of a member, or an acct_ id."
    actions = ["suspend", "resume", "change_plan"]
    inlines = [MembersOfAccount]

    def get_queryset(self, request):
        count = Counter.objects.filter(account_id=OuterRef("pk"), kind="instance").values("count")[:1]
        return super().get_queryset(request).annotate(instances_now=Subquery(count))

    def get_form(self, request, obj=None, change=False, **kwargs):
        return super().get_form(request, obj, change, **kwargs | ({} if obj else {"form": NewAccountForm}))

    def get_fields(self, request, obj=None):
        kept = ["public_id", "plan", "state", "suspended_at", "suspended_reason", "instances", "created_at"]
        return ["name", "require_mfa", *kept] if obj else ["name", "plan", "owner"]

    def get_readonly_fields(self, request, obj=None):
        return self.get_fields(request, obj)[2:] if obj else []

    def get_inlines(self, request, obj):
        return self.inlines if obj else []

    def has_delete_permission(self, request, obj=None):
        return False  # its events and what it owes outlive it: suspend it

    def offers(self, action, row):
        return action != ("resume" if row.suspended_at is None else "suspend")

    def save_model(self, request, obj, form, change):
        by = request.user.actor
        if change:
            accounts.update(account=obj, name=obj.name, require_mfa=obj.require_mfa, by=by)
        else:
            made = accounts.create(name=obj.name, owner=form.cleaned_data["owner"], plan=obj.plan.slug, by=by)
            obj.pk = made.pk

    @admin.display(description="status", ordering="suspended_at")
    def state(self, account):
        return badge(account.status)

    @admin.display(description="instances", ordering="instances_now")
    def instances(self, account):
        return account.instances_now or 0

    @admin.action(description="Suspend…", permissions=["operate"])
    def suspend(self, request, queryset):
        return self.ask(
            request,
            queryset,
            lambda account, reason: accounts.suspend(account=account, reason=reason, by=request.user.actor),
            title="Suspend",
            note="Nothing of the account can be changed until it is resumed, from the next request on. "
            "What runs goes on, and goes on costing.",
            done="Suspended.",
            form=ReasonForm,
        )

    @admin.action(description="Resume", permissions=["operate"])
    def resume(self, request, queryset):
        self.carry_out(
            request,
            queryset,
            lambda account: accounts.resume(account=account, by=request.user.actor),
            done="Resumed.",
        )

    @admin.action(description="Change plan…", permissions=["operate"])
    def change_plan(self, request, queryset):
        return self.ask(
            request,
            queryset,
            lambda account, plan: accounts.change_plan(account=account, plan=plan.slug, by=request.user.actor),
            title="Change plan",
            note="Rate and quotas are the new plan's from the next request on. What is above a quota stays.",
            done="The plan is changed.",
            form=PlanForm,
        )


@admin.register(Membership)
class MembershipAdmin(ReadOnly):
    """Operators act here with an owner's rights."""

    list_display = ["user", account_of, "role", "created_at"]
    list_filter = ["role"]
    list_select_related = ["user", "account"]
    search_fields = ["user__email", "account__name"]
    search_help_text = "A user's address, an account's name, or a mem_ id."
    fields = ["user", "account", "role", "created_at"]
    actions = ["view_as", "change_role", "remove"]

    def has_look_permission(self, request):
        return request.user.has_perm("accounts.add_viewing")

    @admin.action(description="View the dashboard as them…", permissions=["look"])
    def view_as(self, request, queryset):
        member = queryset.select_related("account__plan").first()
        begun = []

        def begin(member, reason):
            begun.append(viewings.begin(operator=request.user, member=member, reason=reason))

        answer = self.ask(
            request,
            [member],
            begin,
            title="View the dashboard",
            note="For half an hour, as this member sees it: read only, without what is theirs alone, such as passwords "
            "and sessions. Its begin, its end and your reason are in the account's audit log.",
            done="Viewing.",
            form=ReasonForm,
        )
        if not begun:
            return answer
        request.session[VIEWING_KEY] = str(begun[0].pk)
        list(messages.get_messages(request))  # the banner says it better
        return redirect("home")

    @admin.action(description="Change role…", permissions=["operate"])
    def change_role(self, request, queryset):
        def change(member, role):
            giver, grantable = _as_owner(request, member)
            members.change_role(member=member, by=request.user.actor, giver=giver, grantable=grantable, role=role)

        return self.ask(
            request,
            queryset.select_related("account"),
            change,
            title="Change role",
            note="It binds the next request of each session, key and token of theirs.",
            done="The role is changed.",
            form=RoleForm,
        )

    @admin.action(description="Remove…", permissions=["operate"])
    def remove(self, request, queryset):
        def remove(member):
            members.remove(member=member, by=request.user.actor, giver=_as_owner(request, member)[0])

        return self.ask(
            request,
            queryset.select_related("account"),
            remove,
            title="Remove",
            note="They no longer belong to the account, and their keys and tokens for it are revoked.",
            done="Removed.",
        )


def _as_owner(request, member):
    return Membership(account=member.account, user=request.user, role="owner"), ROLE_SCOPES["owner"]


@admin.register(Viewing)
class ViewingAdmin(ReadOnly):
    """Who looked at whose dashboard, and why."""

    list_display = ["operator", "user", account_of, "reason", "state", "created_at", "until", "ended_at"]
    list_select_related = ["operator", "user", "account"]
    search_fields = ["operator__email", "user__email", "account__name"]
    actions = ["end"]

    @admin.display(description="status")
    def state(self, viewing):
        return badge(viewing.status)

    def offers(self, action, row):
        return row.status == "active"

    @admin.action(description="End", permissions=["operate"])
    def end(self, request, queryset):
        rows = queryset.select_related("account__plan", "user")
        self.carry_out(
            request, rows, lambda viewing: viewings.end(viewing=viewing, by=request.user.actor), done="Ended."
        )


class Revocable(ReadOnly):
    """Keys and tokens are looked at and revoked here; only people make them, and only they see them."""

    list_select_related = ["account"]
    actions = ["revoke"]

    @admin.display(description="status")
    def state(self, row):
        return badge(row.status)

    def offers(self, action, row):
        return row.revoked_at is None

    def end(self, request, row):
        raise NotImplementedError

    @admin.action(description="Revoke…", permissions=["operate"])
    def revoke(self, request, queryset):
        return self.ask(
            request,
            queryset.select_related("account"),
            lambda row: self.end(request, row),
            title="Revoke",
            note="It stops working at once, for good. What uses it is refused from its next request on.",
            done="Revoked.",
        )


@admin.register(ApiKey)
class ApiKeyAdmin(Revocable):
    list_display = ["name", account_of, "hint", "state", "created_by", "last_used_at", "expires_at", "created_at"]
    list_select_related = ["account", "created_by"]
    list_filter = [("revoked_at", admin.EmptyFieldListFilter)]
    search_fields = ["name", "hint__exact", "account__name", "created_by__email"]
    search_help_text = "A name, an account's name, its maker's address, the last four characters, or an ak_ id."
    exclude = ["digest"]

    def end(self, request, row):
        api_keys.revoke(key=row, by=request.user.actor)


@admin.register(OAuthApp)
class OAuthAppAdmin(ReadOnly):
    list_display = ["name", "client_id", account_of, "user", "authorization_grant_type", "created_at"]
    list_select_related = ["account", "user"]
    search_fields = ["name", "client_id__exact", "account__name"]
    exclude = ["client_secret"]


@admin.register(OAuthToken)
class OAuthTokenAdmin(Revocable):
    list_display = ["name", account_of, "user", "app", "state", "last_used_at", "expires_at", "created_at"]
    list_select_related = ["account", "user", "app"]
    list_filter = [("revoked_at", admin.EmptyFieldListFilter)]
    search_fields = ["name", "account__name", "user__email"]

    def end(self, request, row):
        oauth_tokens.revoke(token=row, by=request.user.actor, why="revoked by the operator")


@admin.register(RecentUse)
class RecentUseAdmin(ReadOnly):
    """The last requests of each API key and token."""

    list_display = ["at", "method", "path", "status", "ip", "agent", "request_id"]
    search_fields = ["request_id__exact", "path"]
    search_help_text = "An ak_ or tok_ id, a req_ id, or part of a path."

    def get_search_results(self, request, queryset, search_term):
        for model in (ApiKey, OAuthToken):
            try:
                return queryset.filter(credential_id=model.key(search_term.strip())), False
            except ValueError:
                pass
        return super().get_search_results(request, queryset, search_term)


@admin.register(AuditSeal)
class AuditSealAdmin(ReadOnly):
    list_display = ["number", "event_seq", "hash"]
    search_fields = ["event_seq__exact"]
