"""Accounts: each change is in one transaction with its audit event; sessions; names of workers."""

from datetime import timedelta

import pytest
from django.contrib.auth.models import Group, User
from django.contrib.sessions.models import Session
from django.test import Client
from django.utils import timezone

from accounts import services
from accounts.models import ApiToken, ApplicationEntity, Share
from archive.models import Study
from jobs.worker import Worker

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def broken_log(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise RuntimeError("no audit event")

    monkeypatch.setattr(services, "record_event", refuse)


def test_a_token_without_its_audit_event_is_not_created(broken_log: None) -> None:
    with pytest.raises(RuntimeError, match="no audit event"):
        services.create_token("ward", "person:a")
    assert not ApiToken.objects.exists()


def test_an_application_entity_without_its_audit_event_is_not_saved(broken_log: None) -> None:
    with pytest.raises(RuntimeError, match="no audit event"):
        services.save_application_entity("CT1", "10.0.0.1", None, "person:a")
    assert not ApplicationEntity.objects.exists()


def test_a_study_without_its_audit_event_is_not_shared(broken_log: None) -> None:
    study = Study.objects.create(uid="1.2.3", patient_id="", patient_name="", study_date="")
    team = Group.objects.create(name="ward")
    with pytest.raises(RuntimeError, match="no audit event"):
        services.share_study(study, team, "user:a")
    assert not Share.objects.exists()


def test_a_worker_has_a_new_name_at_each_start() -> None:
    assert Worker("small", 1).name != Worker("small", 1).name


@pytest.fixture
def browser() -> Client:
    """A browser with a session that was extended just now."""
    browser = Client(headers={"host": "localhost"})
    browser.force_login(User.objects.create_user("ana"))
    assert browser.get("/account/").status_code == 200
    return browser


def test_a_request_soon_after_another_does_not_save_the_session(browser: Client) -> None:
    until = Session.objects.get().expire_date
    assert browser.get("/account/").status_code == 200
    assert Session.objects.get().expire_date == until


def test_a_session_in_use_is_extended(browser: Client) -> None:
    session = browser.session
    session["extended"] -= 61
    session.save()
    Session.objects.update(expire_date=timezone.now() + timedelta(minutes=1))
    assert browser.get("/account/").status_code == 200
    assert Session.objects.get().expire_date > timezone.now() + timedelta(minutes=29)


def test_a_session_ends_after_a_shift_although_it_is_in_use(browser: Client) -> None:
    session = browser.session
    session["since"] -= 8 * 3600 + 1
    session.save()
    assert browser.get("/account/").status_code == 302
