"""The few errors that a user can meet, each raised where the fact is known and turned into words at the border.

The message of each is one sentence that says what is wrong and what to do; it never holds a patient identifier.
"""


class VertebralFractureError(Exception):
    """Base of every error below; anything else that escapes is a defect of the program."""


class UnreadableVolume(VertebralFractureError):
    """The input is missing, damaged, or not a CT volume that can be used (exit code 2)."""


class OutputRefused(VertebralFractureError):
    """The output folder cannot be used without harming something of the user's (exit code 2)."""


class OptionRefused(VertebralFractureError):
    """An option has a value that it cannot have (exit code 2)."""


class DeviceMissing(VertebralFractureError):
    """The device that was asked for is not there, or failed (exit code 2)."""


class UnusableCorrection(VertebralFractureError):
    """A file or option with a reader's corrections cannot be used (exit code 2)."""


class RefusedContent(VertebralFractureError, ValueError):
    """A file or message from elsewhere holds what no such file can hold; nothing of it is used (exit code 2)."""


class NotEvaluable(VertebralFractureError):
    """The volume is a CT, but it cannot be judged; the report says why (exit code 3)."""


class NoSpineFound(NotEvaluable):
    """No spinal canal, or too little of it, was found with confidence."""


class CanalFilled(NotEvaluable):
    """Contrast medium fills the spinal canal, in which neither network nor checks know their way."""


class CenterlineTooSharp(NotEvaluable):
    """The centerline bends so sharply that the straight spine would be torn."""


class ImplausibleGeometry(NotEvaluable):
    """The anatomy shows that the spacing in the file cannot be true, so nothing may be measured."""


class BrokenStack(NotEvaluable):
    """The slices of the volume do not belong together, so that no vertebra on it can be counted or measured."""


class PositionUnclear(NotEvaluable):
    """The anatomy does not show how the patient lies, or not as the file says."""


class WeightsDamaged(VertebralFractureError):
    """A weights file is missing or does not have the SHA-256 that its manifest promises."""


class Cancelled(VertebralFractureError):
    """The user asked to stop (exit code 130); nothing half-written stays behind."""
