"""Accounts: each change is in one transaction with its audit event; workers are never mistaken for an earlier one."""

import pytest
from django.contrib.auth.models import Group

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
