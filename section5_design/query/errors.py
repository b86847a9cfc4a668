"""Errors that a request is answered with; the message is for its sender, without patient data.

RequestError
├── InvalidRequestError    400
├── NotFoundError          404
└── NotAcceptableError     406
"""


class RequestError(Exception):
    """A request that cannot be fulfilled."""

    status = 500


class InvalidRequestError(RequestError):
    """It cannot be understood."""

    status = 400


class NotFoundError(RequestError):
    """What it names does not exist, or is not visible to the reader."""

    status = 404


class NotAcceptableError(RequestError):
    """None of the representations that it accepts can be made."""

    status = 406
