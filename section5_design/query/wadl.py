"""Write the capabilities as WADL, the form that PS3.18, 8.9 names, from the OpenAPI document."""

from collections.abc import Mapping
from typing import Any
from xml.etree import ElementTree as ET

WADL = "application/vnd.sun.wadl+xml"
NAMESPACE = "http://wadl.dev.java.net/2009/02"


def build_wadl(document: Mapping[str, Any]) -> bytes:
    """Return the WADL document."""
    root = ET.Element("application", {"xmlns": NAMESPACE, "xmlns:xs": "http://www.w3.org/2001/XMLSchema"})
    resources = ET.SubElement(root, "resources", base=f"{document['servers'][0]['url']}/")
    for address, methods in document["paths"].items():
        resource = ET.SubElement(resources, "resource", path=address.removeprefix("/"))
        for one in methods["parameters"]:
            ET.SubElement(resource, "param", name=one["name"], style="template", type="xs:string", required="true")
        for name, operation in methods.items():
            if name != "parameters":
                add_method(resource, name, operation)
    return ET.tostring(root, "utf-8", xml_declaration=True)


def add_method(resource: ET.Element, name: str, operation: Mapping[str, Any]) -> None:
    """Add a method: its parameters, the media types of its body, and its statuses."""
    method = ET.SubElement(resource, "method", name=name.upper())
    ET.SubElement(method, "doc", title=operation["summary"])
    request = ET.SubElement(method, "request")
    for one in operation.get("parameters", ()):
        ET.SubElement(request, "param", name=one["name"], style="query", type=f"xs:{one['schema']['type']}")
    for media_type in operation.get("requestBody", {}).get("content", ()):
        ET.SubElement(request, "representation", mediaType=media_type)
    for status, response in operation["responses"].items():
        ET.SubElement(ET.SubElement(method, "response", status=status), "doc", title=response["description"])
