"""A person who signs in. What they may do depends on the account they act for: see `membership`."""

from typing import Any, ClassVar

from django.contrib.auth.models import AbstractBaseUser, BaseUserManager, PermissionsMixin
from django.db import models

from core.context import Actor
from core.models import Row


class Users(BaseUserManager["User"]):
    def create_user(self, email: str, password: str | None = None, **fields: Any) -> "User":
        user = self.model(email=self.normalize_email(email).lower(), **fields)
        user.set_password(password)
        user.save(using=self._db)
        return user

    def create_superuser(self, email: str, password: str | None = None, **fields: Any) -> "User":
        return self.create_user(email, password, is_staff=True, is_superuser=True, **fields)


class User(Row, AbstractBaseUser, PermissionsMixin):
    prefix = kind = "user"

    email = models.EmailField(unique=True)
    name = models.CharField(max_length=100, blank=True)
    is_active = models.BooleanField(default=True, help_text="Off: cannot sign in, and no key of theirs works.")
    is_staff = models.BooleanField("operator", default=False, help_text="May use this admin.")

    objects = Users()

    USERNAME_FIELD = "email"
    REQUIRED_FIELDS: ClassVar[list[str]] = []

    class Meta:
        ordering = ["email"]

    def __str__(self) -> str:
        return self.email

    @property
    def actor(self) -> Actor:
        return Actor("user", self.public_id, self.name or self.email)

    def event_data(self) -> dict[str, str]:
        return {"user_id": self.public_id, "email": self.email}
