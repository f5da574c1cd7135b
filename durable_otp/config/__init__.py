"""What an operator may set: read, checked and explained; every mistake is one sentence."""

from durable_otp.config.dashboard import DashboardSection, is_loopback
from durable_otp.config.loading import from_mapping, load
from durable_otp.config.reference import ReferenceRow, reference
from durable_otp.config.sections import (
    Config,
    DurableSection,
    QueueSection,
    RetentionSection,
    SiblingSection,
    SleepWakerSection,
    SupervisorSection,
)

__all__ = [
    "Config",
    "DashboardSection",
    "DurableSection",
    "QueueSection",
    "ReferenceRow",
    "RetentionSection",
    "SiblingSection",
    "SleepWakerSection",
    "SupervisorSection",
    "from_mapping",
    "is_loopback",
    "load",
    "reference",
]
