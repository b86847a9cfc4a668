"""What is read back."""

import csv
import io

from PIL import Image

from system import System, instance, until


def stored(system: System, name: str = "CT_small.dcm") -> tuple[str, int]:
    uid, content = instance(name)
    assert system.post(content).status == 200
    system.wait_for(uid)
    ((id_,),) = system.query("SELECT id FROM archive_instance WHERE sop_instance_uid = %s", uid)
    return uid, id_


def test_a_result_is_read_as_json(system: System) -> None:
    uid, id_ = stored(system)
    told = system.ask("GET", f"/api/results/?sop_instance_uid={uid}").json()
    assert told["next_after"] is None
    (result,) = told["results"]
    assert (result["id"], result["sop_instance_uid"], result["preview"]) == (id_, uid, True)
    assert result["figures"]["data_size"] == 128 * 128
    assert len(result["figures"]["histogram"]["counts"]) == 256


def test_a_result_is_read_as_csv(system: System) -> None:
    uid, id_ = stored(system)
    text = system.ask("GET", f"/api/results/?format=csv&sop_instance_uid={uid}").body.decode()
    (row,) = csv.DictReader(io.StringIO(text))
    assert (row["id"], row["data_size"], row["number_of_frames"]) == (str(id_), "16384", "1")
    assert float(row["average_before_normalization"]) > 900


def test_the_preview_is_a_picture(system: System) -> None:
    _, id_ = stored(system)
    answer = system.ask("GET", f"/api/results/{id_}/preview.png")
    assert answer.headers["Content-Type"] == "image/png"
    assert Image.open(io.BytesIO(answer.body)).size == (128, 128)


def test_there_is_no_preview_without_pixels(system: System) -> None:
    _, id_ = stored(system, "reportsi.dcm")
    assert system.ask("GET", f"/api/results/{id_}/preview.png").status == 404
    assert system.ask("GET", "/api/results/999999999999999999999/preview.png").status == 404


def test_an_instance_has_its_state_and_identifiers(system: System) -> None:
    uid, _ = stored(system)
    (told,) = system.ask("GET", f"/api/instances/?sop_instance_uid={uid}").json()["results"]
    assert (told["state"], told["attempts"], told["conflict"], told["modality"]) == ("done", 1, False, "CT")


def test_studies_count_the_states_of_their_instances(system: System) -> None:
    stored(system)
    (told,) = [one for one in system.ask("GET", "/api/studies/").json()["results"] if one["instances"]][:1]
    assert told["instances"] == told["done"] + told["quarantined"]


def test_pages_contain_every_row_once(system: System) -> None:
    for _ in range(5):
        stored(system)
    after, seen = 0, []
    while after is not None:
        page = system.ask("GET", f"/api/instances/?page_size=2&after={after}").json()
        seen += [one["id"] for one in page["results"]]
        after = page["next_after"]
    assert seen == [id_ for (id_,) in system.query("SELECT id FROM archive_instance ORDER BY id")]


def test_an_invalid_page_is_400(system: System) -> None:
    for query in ("after=x", "page_size=many"):
        assert system.ask("GET", f"/api/instances/?{query}").status == 400
    assert system.ask("GET", "/api/instances/?sop_instance_uid=%00").status == 200


def test_workers_report_their_state(system: System) -> None:
    until(lambda: system.ask("GET", "/api/workers/").json()["results"])
    (worker,) = [one for one in system.ask("GET", "/api/workers/").json()["results"] if one["state"] != "gone"]
    assert worker["queues"] == "small,large"
    assert 0 <= worker["memory_percent"] <= 100


def test_health(system: System) -> None:
    assert system.ask("GET", "/live").json() == {"status": "live"}
    assert system.ask("GET", "/ready").json() == {"status": "ready"}
