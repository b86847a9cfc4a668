"""Who may see and do what: every address, by every role."""

import os
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from django.urls import URLPattern, URLResolver, get_resolver

from people import Person, make_people
from system import OVER_HTTP, System, database, instance, until

PEOPLE = {
    "owner": ["submitters", "ward"],
    "colleague": ["readers", "ward"],
    "stranger": ["submitters", "elsewhere"],
    "reader": ["readers"],
    "operator": ["operators"],
    "auditor": ["auditors"],
    "administrator": ["administrators"],
}
# The status of each URL for: owner, colleague, other team, reader, operator, auditor, administrator, anonymous.
SEES = (200, 200, 404, 404, 200, 404, 200, 302)
EVERYBODY = (200, 200, 200, 200, 200, 200, 200, 302)
AUDITS = (403, 403, 403, 403, 403, 200, 200, 302)
ADMINISTERS = (403, 403, 403, 403, 403, 403, 200, 302)
OPERATES = (403, 403, 403, 403, 200, 403, 200, 302)
GETS = {
    "studies": EVERYBODY,
    "uploads": EVERYBODY,
    "password": EVERYBODY,
    "account": EVERYBODY,
    "download-run": (404, 404, 404, 404, 404, 404, 404, 302),
    "session": EVERYBODY,
    "study": SEES,
    "download-study": SEES,
    "study-thumbnail": SEES,
    "series-thumbnail": SEES,
    "series": SEES,
    "image": SEES,
    "attributes": SEES,
    "picture": SEES,
    "legend": SEES,
    "segments": SEES,
    "spacing": SEES,
    "positions": SEES,
    "statistics": SEES,
    "download-instance": SEES,
    "upload": SEES,
    "operations": OPERATES,
    "drain": (403, 403, 403, 403, 404, 403, 404, 302),
    "deliveries": OPERATES,
    "priors": OPERATES,
    "audit": AUDITS,
    "export-audit": AUDITS,
    "people": ADMINISTERS,
    "person": ADMINISTERS,
    "tus": (405, 403, 405, 403, 403, 403, 405, 401),
    "tus-file": (412, 403, 412, 403, 403, 403, 412, 401),
}
POSTS = {
    "act-on-studies": (302, 302, 302, 302, 302, 302, 302, 403),
    "change-labels": (302, 302, 404, 404, 302, 404, 302, 403),
    "revoke-token": (404, 404, 404, 404, 404, 404, 404, 403),
    "add-team": (403, 403, 403, 403, 403, 403, 302, 403),
    "share": (403, 403, 403, 403, 404, 403, 404, 403),
    "requeue": (403, 403, 403, 403, 302, 403, 302, 403),
    "quarantine": (403, 403, 403, 403, 302, 403, 302, 403),
    "drain": (403, 403, 403, 403, 404, 403, 404, 403),
    "change-destination": (403, 403, 403, 403, 404, 403, 404, 403),
    "change-rule": (403, 403, 403, 403, 404, 403, 404, 403),
    "resend": (403, 403, 403, 403, 404, 403, 404, 403),
    "change-archive": (403, 403, 403, 403, 404, 403, 404, 403),
    "remove-prior-rule": (403, 403, 403, 403, 404, 403, 404, 403),
    "retry-prior": (403, 403, 403, 403, 404, 403, 404, 403),
}
DONE = ("requeued", "quarantined", "drain")
OTHERS = {"login", "logout", "events", "set_language"}  # each has a test of its own
OPEN = {"live", "ready", "design/", "api/receipts/key.pem"}
BY_SESSION_OR_TOKEN = {"api/instances/", "api/studies/", "api/results/", "api/workers/"}
BY_SESSION_OR_TOKEN |= {"api/results/<int:instance_id>/preview.png", "api/receipts/<int:instance_id>"}


class Place:
    """A system with a study that the owner sent for the ward."""

    def __init__(self, system: System) -> None:
        self.system = system
        make_people(system, PEOPLE)
        self.people = [Person(system, name) for name in PEOPLE] + [Person(system)]
        self.owner = self.people[0]
        ward = re.search(r'<option value="(\d+)">ward', self.owner.get("/uploads/").text)
        assert ward
        self.uid, content = instance()
        answer = self.owner.send(content, group=ward[1])
        self.upload = int(answer.headers["Location"].split("/")[2])
        system.wait_for(self.uid)
        query = (
            "SELECT i.id, series_id, study_id FROM archive_instance AS i JOIN archive_series AS s ON s.id = series_id"
        )
        ((self.image, self.series, self.study),) = system.query(f"{query} WHERE sop_instance_uid = %s", self.uid)

    def path(self, name: str) -> str:
        study, series, image = f"/studies/{self.study}", f"/series/{self.series}", f"/images/{self.image}"
        paths = {
            "studies": "/",
            "act-on-studies": "/studies/actions",
            "study": f"{study}/",
            "share": f"{study}/share",
            "change-labels": f"{study}/labels",
            "study-thumbnail": f"{study}/thumbnail.jpg",
            "download-study": f"{study}/results.csv",
            "series": f"{series}/",
            "series-thumbnail": f"{series}/thumbnail.jpg",
            "image": f"{image}/",
            "attributes": f"{image}/attributes/",
            "picture": f"{image}/picture.png",
            "legend": f"{series}/segments",
            "segments": f"{image}/segments.png",
            "spacing": f"{image}/spacing",
            "positions": f"{series}/positions",
            "statistics": f"{image}/statistics?shape=ellipse&box=0_0_9_9",
            "download-instance": f"{image}/result.dcm",
            "upload": f"/uploads/{self.upload}/",
            "drain": "/operations/drain",
            "change-destination": "/deliveries/destinations/1",
            "change-rule": "/deliveries/rules/1",
            "resend": "/deliveries/1/resend",
            "change-archive": "/priors/archives/1",
            "remove-prior-rule": "/priors/rules/1",
            "retry-prior": "/priors/1/retry",
            "export-audit": "/audit/export.csv",
            "session": "/session",
            "download-run": "/runs/1/files/0",
            "person": "/people/1/",
            "revoke-token": "/account/tokens/revoke",
            "add-team": "/people/teams",
            "tus": "/files/",
            "tus-file": "/files/00000000-0000-0000-0000-000000000000",
        }
        return paths.get(name) or (f"/{name}/" if name in GETS else f"/operations/{name}")


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    with (
        database(f"access_{os.getpid()}") as url,
        System(tmp_path_factory.mktemp("access"), url, OVER_HTTP) as system,
    ):
        yield Place(system)


def walk_urls(resolver: URLResolver, prefix: str = "") -> Iterator[tuple[str, str]]:
    """Generate addresses with their names."""
    for pattern in resolver.url_patterns:
        address = prefix + str(pattern.pattern)
        if isinstance(pattern, URLPattern):
            yield address, pattern.name
        elif address not in ("dicom-web/", "viewer/"):  # tested with the app query
            yield from walk_urls(pattern, address)


def test_every_url_is_in_the_tables() -> None:
    patterns = dict(walk_urls(get_resolver()))
    assert {name for name in patterns.values() if name} == {*GETS, *POSTS, *OTHERS}
    assert {address for address, name in patterns.items() if not name} == OPEN | BY_SESSION_OR_TOKEN


@pytest.mark.parametrize("name", GETS)
def test_read_permissions_of_every_role(place: Place, name: str) -> None:
    assert tuple(person.get(place.path(name)).status_code for person in place.people) == GETS[name]


@pytest.mark.parametrize("name", POSTS)
def test_write_permissions_of_every_role(place: Place, name: str) -> None:
    values = {"group": "0", "worker": "none"}
    assert tuple(person.post(place.path(name), values).status_code for person in place.people) == POSTS[name]


def test_a_form_without_its_csrf_token_is_refused(place: Place) -> None:
    for name in POSTS:
        assert place.owner.session.post(place.owner.base + place.path(name), {}, timeout=60).status_code == 403


def test_the_study_list_shows_only_visible_studies(place: Place) -> None:
    link = f'href="/studies/{place.study}/"'
    assert [link in person.get("/").text for person in place.people] == [
        True,
        True,
        False,
        False,
        True,
        False,
        True,
        False,
    ]


def test_a_sender_sees_the_file_it_sent_but_not_the_rest_of_the_study(place: Place) -> None:
    stranger = place.people[2]
    uid, content = instance()  # in the same study as the owner's
    stranger.send(content)
    place.system.wait_for(uid)
    page = stranger.get(f"/studies/{place.study}/").text
    ((sent,),) = place.system.query("SELECT id FROM archive_instance WHERE sop_instance_uid = %s", uid)
    assert f"/images/{sent}/" in page
    assert f"/images/{place.image}/" not in page
    assert stranger.get(f"/images/{place.image}/").status_code == 404


@pytest.mark.parametrize("count", [2, 40], ids=["few images", "many, found by ranges"])
def test_the_study_list_counts_only_the_images_that_a_person_sent(place: Place, count: int) -> None:
    stranger, parts = place.people[2], {"StudyInstanceUID": f"1.2.4.{count}", "PatientID": f"COUNT{count}"}
    place.owner.send(instance(**parts)[1])
    for _ in range(count):
        stranger.send(instance(**parts)[1])
    page = stranger.get(f"/?patient=COUNT{count}").text
    assert re.findall(r'data-name="Images">([0-9]+)<', page) == [str(count)]


def test_network_images_are_hidden_until_an_operator_shares_them(place: Place) -> None:
    uid, content = instance(StudyInstanceUID="1.2.3.4")
    place.system.post(content)
    place.system.wait_for(uid)
    ((study,),) = place.system.query("SELECT id FROM archive_study WHERE uid = '1.2.3.4'")
    colleague, operator = place.people[1], place.people[4]
    assert colleague.get(f"/studies/{study}/").status_code == 404
    ward = re.search(r'value="(\d+)">ward', operator.get(f"/studies/{study}/").text)
    assert ward
    operator.post(f"/studies/{study}/share", {"group": ward[1]}, page=f"/studies/{study}/")
    assert colleague.get(f"/studies/{study}/").status_code == 200
    operator.post(f"/studies/{study}/share", {"group": ward[1], "end": "1"}, page=f"/studies/{study}/")
    assert colleague.get(f"/studies/{study}/").status_code == 404


def test_the_api_returns_what_the_pages_show(place: Place) -> None:
    query = f"/api/results/?sop_instance_uid={place.uid}"
    counts = [len(person.get(query).json()["results"]) for person in place.people[:-1]]
    assert counts == [1, 1, 0, 0, 1, 0, 1]
    preview = f"/api/results/{place.image}/preview.png"
    assert [person.get(preview).status_code for person in place.people] == [200, 200, 404, 404, 200, 404, 200, 401]


@pytest.mark.parametrize("path", ["instances/", "studies/", "results/", "workers/"])
def test_anonymous_reading_ends_with_the_first_account(place: Place, path: str) -> None:
    assert place.people[-1].get(f"/api/{path}").status_code == 401


def test_five_failed_logins_lock_the_account(place: Place) -> None:
    codes = [Person(place.system, "reader", "wrong").answer.status_code for _ in range(6)]
    assert codes == [200, 200, 200, 200, 429, 429]
    assert Person(place.system, "reader").answer.status_code == 429
    assert Person(place.system, "owner").answer.status_code == 302


def test_every_page_forbids_third_party_scripts(place: Place) -> None:
    for path in ("/", "/login/", "/nowhere", f"/images/{place.image}/"):
        policy = place.owner.get(path).headers["Content-Security-Policy"]
        assert "default-src 'none'" in policy
        assert "unsafe-inline" not in policy


def test_operator_actions_are_recorded_with_their_user(place: Place, tmp_path: Path) -> None:
    system, operator = place.system, place.people[4]
    uid, content = instance(Rows=0)
    system.post(content)
    system.wait_for(uid, "quarantined")
    reason = system.state_of(uid)[1]
    assert (
        operator.post("/operations/requeue", {"kind": "analysis", "reason": reason}, page="/operations/").status_code
        == 302
    )
    until(lambda: system.query("SELECT count(*) FROM audit_event WHERE kind = 'requeued'") == [(1,)])
    system.wait_for(uid, "quarantined")
    system.kill("worker")
    ((killed_at,),) = system.query("SELECT now()")
    waiting, content = instance()
    system.post(content)
    ((job,),) = system.query(
        "SELECT j.id FROM analysis_job AS j JOIN archive_instance AS i ON i.id = instance_id"
        " WHERE sop_instance_uid = %s",
        waiting,
    )
    operator.post("/operations/quarantine", {"job": str(job)}, page="/operations/")
    assert system.state_of(waiting) == ("quarantined", "quarantined by user:operator")
    system.start("worker")
    newest = "SELECT name FROM jobs_worker WHERE started_at > %s"
    until(lambda: system.query(newest, killed_at))
    ((worker,),) = system.query(newest, killed_at)
    operator.post("/operations/drain", {"worker": worker}, page="/operations/")
    assert system.parts["worker"].wait(30) == 0
    system.start("worker")
    kinds = system.query("SELECT kind FROM audit_event WHERE actor = 'user:operator' ORDER BY id")
    assert [kind for (kind,) in kinds if kind in DONE] == ["requeued", "quarantined", "drain"]


def test_a_second_sender_of_the_same_content_sees_its_result(place: Place) -> None:
    owner, stranger = place.owner, place.people[2]
    uid, content = instance(StudyInstanceUID="1.2.826.0.1.3680043.99.1")
    owner.send(content)
    place.system.wait_for(uid)
    ((image,),) = place.system.query("SELECT id FROM archive_instance WHERE sop_instance_uid = %s", uid)
    assert stranger.get(f"/images/{image}/").status_code == 404
    stranger.send(content)
    assert stranger.get(f"/images/{image}/").status_code == 200
    assert stranger.get(f"/images/{image}/result.json").status_code == 200
    until(lambda: stranger.get(f"/api/receipts/{image}").status_code == 200)


def test_only_auditors_see_who_viewed_an_image(place: Place) -> None:
    owner, administrator = place.owner, place.people[6]
    for person in (owner, administrator):
        person.get(f"/images/{place.image}/")
    assert "Viewed" not in owner.get(f"/images/{place.image}/").text
    assert "Viewed" in administrator.get(f"/images/{place.image}/").text
