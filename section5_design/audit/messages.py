"""Convert audit events to DICOM audit messages (PS3.15, A.5) for a hospital's audit repository."""

from datetime import UTC
from typing import Any
from xml.etree import ElementTree as ET

DCM = "DCM"
# kind: event (PS3.16, CID 400), action (create, read, update, delete, execute), type (CID 401), outcome (4: failed)
TRANSFERRED = ("110104", "DICOM Instances Transferred")
ACCESSED = ("110103", "DICOM Instances Accessed")
DELETED = ("110105", "DICOM Study Deleted")
EXPORTED = ("110106", "Export")
ALERT = ("110113", "Security Alert")
AUTHENTICATION = ("110114", "User Authentication")
LOG_USED = ("110101", "Audit Log Used")
QUERY = ("110112", "Query")
RESTRICTED = ("110132", "Use of Restricted Function")
ATTRIBUTES = ("110135", "Object Security Attributes Changed")
KINDS: dict[str, tuple[tuple[str, str], str, tuple[str, str] | None, str]] = {
    "received": (TRANSFERRED, "C", None, "0"),
    "committed": (TRANSFERRED, "R", None, "0"),
    "viewed": (ACCESSED, "R", None, "0"),
    "done": (ACCESSED, "R", None, "0"),
    "retry": (ACCESSED, "R", None, "4"),
    "lost": (ACCESSED, "R", None, "4"),
    "quarantined": (ACCESSED, "R", None, "8"),
    "retrieved": (TRANSFERRED, "R", None, "0"),
    "exported": (EXPORTED, "R", None, "0"),
    "sent": (EXPORTED, "R", None, "0"),
    "queried": (QUERY, "E", None, "0"),
    "erased": (DELETED, "D", None, "0"),
    "login": (AUTHENTICATION, "E", ("110122", "Login"), "0"),
    "logout": (AUTHENTICATION, "E", ("110123", "Logout"), "0"),
    "login failed": (AUTHENTICATION, "E", ("110122", "Login"), "4"),
    "rejected": (ALERT, "E", ("110126", "Node Authentication"), "4"),
    "shared": (ALERT, "E", ATTRIBUTES, "0"),
    "unshared": (ALERT, "E", ATTRIBUTES, "0"),
    "labelled": (ALERT, "E", ATTRIBUTES, "0"),
    "requeued": (ALERT, "E", RESTRICTED, "0"),
    "run again": (ALERT, "E", RESTRICTED, "0"),
    "destination": (ALERT, "E", ("110128", "Network Configuration"), "0"),
    "delivered": (TRANSFERRED, "R", None, "0"),
    "drain": (ALERT, "E", RESTRICTED, "0"),
    "application entity": (ALERT, "E", ("110128", "Network Configuration"), "0"),
    "keys": (ALERT, "E", ("110129", "Security Configuration"), "0"),
    "token": (ALERT, "E", ("110129", "Security Configuration"), "0"),
    "accounts": (ALERT, "E", ("110137", "User Security Attributes Changed"), "0"),
    "audit": (LOG_USED, "R", None, "0"),
    "audit dropped": (LOG_USED, "D", None, "0"),
}


def build_message(event: dict[str, Any]) -> bytes:
    """Build the XML message of an event. Events contain no patient names, and so no message does."""
    event_id, action, kind, outcome = KINDS.get(event["kind"], (ALERT, "E", None, "0"))
    root = ET.Element("AuditMessage")
    when = event["at"].astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    attributes = {"EventActionCode": action, "EventDateTime": when, "EventOutcomeIndicator": outcome}
    identification = ET.SubElement(root, "EventIdentification", attributes)
    _code(identification, "EventID", *event_id)
    if kind:
        _code(identification, "EventTypeCode", *kind)
    ET.SubElement(identification, "EventOutcomeDescription").text = f"{event['kind']}: {event['detail']}".rstrip(": ")
    participant = {"UserID": event["actor"], "UserIsRequestor": "true"}
    if event["address"]:
        participant |= {"NetworkAccessPointID": event["address"], "NetworkAccessPointTypeCode": "2"}  # an IP address
    ET.SubElement(root, "ActiveParticipant", participant)
    source = ET.SubElement(root, "AuditSourceIdentification", {"AuditSourceID": "section5"})
    ET.SubElement(source, "AuditSourceTypeCode", {"csd-code": "4"})  # an application server
    if event["study_uid"]:
        named = {"ParticipantObjectID": event["study_uid"]}
        named |= {"ParticipantObjectTypeCode": "2", "ParticipantObjectTypeCodeRole": "3"}  # a system object, a report
        study = ET.SubElement(root, "ParticipantObjectIdentification", named)
        _code(study, "ParticipantObjectIDTypeCode", "110180", "Study Instance UID")
        if event["sop_class_uid"]:
            description = ET.SubElement(study, "ParticipantObjectDescription")
            objects = {"UID": event["sop_class_uid"], "NumberOfInstances": "1"}
            instance = ET.SubElement(ET.SubElement(description, "SOPClass", objects), "Instance")
            instance.set("UID", event["sop_instance_uid"])
    return ET.tostring(root, "utf-8", xml_declaration=True)


def _code(parent: ET.Element, name: str, code: str, meaning: str) -> None:
    ET.SubElement(parent, name, {"csd-code": code, "codeSystemName": DCM, "originalText": meaning})
