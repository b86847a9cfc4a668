"""Users with accounts, and their actions over HTTP."""

import re
from typing import Any

import requests
from django.contrib.auth.hashers import MD5PasswordHasher

from system import System

PASSWORD = "a phrase that is long enough"
NEW_ACCOUNT = """
    INSERT INTO auth_user (username, password, is_staff, is_superuser, is_active, first_name, last_name, email,
        date_joined) VALUES (%s, %s, %s, false, true, '', '', '', now())
"""
NEW_GROUP = "INSERT INTO auth_group (name) VALUES (%s) ON CONFLICT DO NOTHING"
NEW_MEMBER = """
    INSERT INTO auth_user_groups (user_id, group_id) SELECT auth_user.id, auth_group.id FROM auth_user, auth_group
    WHERE username = %s AND auth_group.name = %s
"""


def make_people(system: System, people: dict[str, list[str]]) -> None:
    """Create accounts by name, each with its groups: roles and teams."""
    password = MD5PasswordHasher().encode(PASSWORD, "salt")  # as in fast_settings.py
    for name, groups in people.items():
        system.query(NEW_ACCOUNT, name, password, "administrators" in groups)
        for group in groups:
            system.query(NEW_GROUP, group)
            system.query(NEW_MEMBER, name, group)


class Person:
    """A user with a session; anonymous without a name."""

    def __init__(
        self, system: System, name: str = "", password: str = PASSWORD, *, base: str = "", verify: str = ""
    ) -> None:
        self.base = base or f"http://127.0.0.1:{system.http}"
        self.session = requests.Session()
        self.session.verify, self.session.trust_env = verify or True, False
        if name:
            self.log_in(name, password)

    def log_in(self, name: str, password: str = PASSWORD) -> None:
        """Log in with the form."""
        self.answer = self.post("/login/", {"username": name, "password": password}, page="/login/")

    def get(self, path: str, **options: Any) -> requests.Response:
        return self.session.get(self.base + path, allow_redirects=False, timeout=60, **options)

    def post(self, path: str, values: dict[str, Any], page: str = "/uploads/", **options: Any) -> requests.Response:
        """Submit a form of a page, with its CSRF token."""
        token = re.search(r'name="csrfmiddlewaretoken" value="(\w+)"', self.get(page).text)
        values = values | {"csrfmiddlewaretoken": token[1] if token else ""}
        sent_from = {"Referer": self.base + page}  # Django requires it over HTTPS
        named: dict[str, Any] = {"headers": sent_from, "allow_redirects": False, "timeout": 60}
        return self.session.post(self.base + path, values, **named, **options)

    def send(self, *contents: bytes, group: str = "") -> requests.Response:
        """Upload files with the form."""
        files = [("files", (f"{number}.dcm", content)) for number, content in enumerate(contents)]
        return self.post("/uploads/", {"group": group}, files=files)

    def headers(self) -> dict[str, str]:
        """What a client of its own needs to be this person."""
        cookies = "; ".join(f"{name}={value}" for name, value in self.session.cookies.items())
        return {"Cookie": cookies, "X-CSRFToken": self.session.cookies.get("csrftoken") or ""}
