"""The contract of an analysis: a function from a DICOM file to figures and a preview, named by the ANALYSIS setting."""


class UnprocessableError(Exception):
    """The instance cannot be analysed, now or later; the message says why, without patient data."""
