"""Signed receipts: what was received and when it was logged. Anybody with the public key can check one.

A receipt is a JSON Web Signature (RFC 7515; EdDSA, RFC 8037) over the SHA-256 of the file as received, its identifiers,
the time, and the link of the audit chain that records it: a holder can prove that the log was truncated or rebuilt.
"""

from datetime import UTC
from typing import Any

import jwt

from archive.models import Instance
from audit.chain import contains, find_receipt_link
from audit.signing import key_id, signing_key, verifying_keys


def issue_receipt(instance: Instance, sender: str) -> str | None:
    """Issue the receipt of an instance to one of its senders; None until the chain has linked it, a second later."""
    link = find_receipt_link(instance.pk, sender)
    if link is None:
        return None
    claims = {
        "sop_instance_uid": instance.sop_instance_uid,
        "sop_class_uid": instance.sop_class_uid,
        "study_instance_uid": instance.series.study.uid,
        "series_instance_uid": instance.series.uid,
        "sha256": instance.sha256,
        "size": instance.size,
        "sender": sender,
        "received_at": instance.received_at.astimezone(UTC).isoformat(),
        "chain": {"link": link[0], "hash": link[1].hex()},
    }
    return jwt.encode(claims, signing_key(), algorithm="EdDSA", headers={"typ": "receipt+jws", "kid": key_id()})


def verify_receipt(receipt: str) -> str:
    """Return what is wrong with a receipt; empty if it is valid and its image is still archived."""
    claims: dict[str, Any] | None = None
    for key in verifying_keys():
        try:
            claims = jwt.decode(receipt.strip(), key, algorithms=["EdDSA"])
        except jwt.InvalidTokenError:
            continue
    if claims is None:
        return "not signed with this system's key"
    if not contains(claims["chain"]["link"], bytes.fromhex(claims["chain"]["hash"])):
        return f"link {claims['chain']['link']} of the audit log has changed: the log was truncated or rebuilt"
    known = Instance.objects.filter(sop_instance_uid=claims["sop_instance_uid"], sha256=claims["sha256"]).exists()
    return "" if known else "its image is no longer archived; `manage.py audit export` shows whether it was erased"
