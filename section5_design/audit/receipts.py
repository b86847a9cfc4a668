"""Signed receipts: what was received, and since when it is in the log. Anybody can check one who has the public key.

A receipt is a JSON Web Signature (RFC 7515; EdDSA, RFC 8037) over the SHA-256 of the file as it came, its identifiers,
the time, and the link of the log's chain that tells of it: who holds one can prove that the log was cut or made anew.
"""

from datetime import UTC
from typing import Any

import jwt

from archive.models import Instance
from audit.chain import holds, link_of_receipt
from audit.signing import key_id, signing_key, verifying_keys


def receipt_of(instance: Instance) -> str | None:
    """The receipt of an instance; None until the log has linked its reception, a second later."""
    link = link_of_receipt(instance.pk)
    if link is None:
        return None
    told = {
        "sop_instance_uid": instance.sop_instance_uid,
        "sop_class_uid": instance.sop_class_uid,
        "study_instance_uid": instance.series.study.uid,
        "series_instance_uid": instance.series.uid,
        "sha256": instance.sha256,
        "size": instance.size,
        "sender": instance.source,
        "received_at": instance.received_at.astimezone(UTC).isoformat(),
        "chain": {"link": link[0], "hash": link[1].hex()},
    }
    return jwt.encode(told, signing_key(), algorithm="EdDSA", headers={"typ": "receipt+jws", "kid": key_id()})


def fault_of(receipt: str) -> str:
    """What is wrong with a receipt against this archive; empty where it is good and what it tells of is still here."""
    told: dict[str, Any] | None = None
    for key in verifying_keys():
        try:
            told = jwt.decode(receipt.strip(), key, algorithms=["EdDSA"])
        except jwt.InvalidTokenError:
            continue
    if told is None:
        return "its signature is not of this system's key"
    if not holds(told["chain"]["link"], bytes.fromhex(told["chain"]["hash"])):
        return f"link {told['chain']['link']} of the log is not what it was: the log was cut or made anew"
    known = Instance.objects.filter(sop_instance_uid=told["sop_instance_uid"], sha256=told["sha256"]).exists()
    return "" if known else "its image is not in the archive any more; `audit export` tells whether it was erased"
