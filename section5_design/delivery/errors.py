"""What a destination may answer instead of success."""


class RefusedError(Exception):
    """It refused the instance; sending it again does not help, until a person changes something."""


class UnavailableError(Exception):
    """It cannot be reached, or did not answer completely; sending again may help."""
