"""The field's words (CONTRACT sections 1, 2 and 5): what a column of that name may hold."""

from enum import StrEnum


class Side(StrEnum):
    """Who reports an event; also the prefix of a fact's columns, in lower case."""

    AGODA = "AGODA"
    SUPPLIER = "SUPPLIER"

    @property
    def prefix(self) -> str:
        """`agoda` or `supplier`, as in `agoda_amount_usd`."""
        return self.value.lower()


class ActivityType(StrEnum):
    """What happened."""

    BOOKING = "BOOKING"
    PAYMENT = "PAYMENT"
    REFUND = "REFUND"
    CANCELLATION = "CANCELLATION"


class Status(StrEnum):
    """How one side says it stands."""

    BOOKED = "BOOKED"
    CONFIRMED = "CONFIRMED"
    PAID = "PAID"
    CANCELLED = "CANCELLED"
    REFUNDED = "REFUNDED"
    FAILED = "FAILED"


class Mode(StrEnum):
    """How soon a supplier's activities are matched."""

    NRT_HOURLY = "NRT_HOURLY"
    DAILY_ONLY = "DAILY_ONLY"


class Versions(StrEnum):
    """Whether both sides number the versions of an activity alike."""

    ALIGNED = "aligned"
    INDEPENDENT = "independent"


class Outcome(StrEnum):
    """The verdict on one key."""

    MATCHED = "MATCHED"
    MISMATCHED = "MISMATCHED"
    MISSING_SUPPLIER = "MISSING_SUPPLIER"
    MISSING_AGODA = "MISSING_AGODA"


class AnomalyType(StrEnum):
    """A rule's violation."""

    MISSING_SUPPLIER = "MISSING_SUPPLIER"
    MISSING_AGODA = "MISSING_AGODA"
    PRICE_MISMATCH = "PRICE_MISMATCH"
    FX_RATE_MISSING = "FX_RATE_MISSING"
    STATUS_MISMATCH = "STATUS_MISMATCH"
    TIMESTAMP_SKEW = "TIMESTAMP_SKEW"
    DUPLICATE_AGODA = "DUPLICATE_AGODA"
    DUPLICATE_SUPPLIER = "DUPLICATE_SUPPLIER"
    DELAYED_AGODA = "DELAYED_AGODA"
    DELAYED_SUPPLIER = "DELAYED_SUPPLIER"


class Severity(StrEnum):
    """How much a break matters, by the money at risk."""

    CRITICAL = "CRITICAL"
    HIGH = "HIGH"
    MEDIUM = "MEDIUM"
    LOW = "LOW"


class Reason(StrEnum):
    """Why a record is no event. MISSING_FIELD and INVALID_FIELD are followed by `:<name>`."""

    MALFORMED_JSON = "MALFORMED_JSON"
    MISSING_FIELD = "MISSING_FIELD"
    INVALID_FIELD = "INVALID_FIELD"
    UNKNOWN_CURRENCY = "UNKNOWN_CURRENCY"
    EVENT_TIME_IN_FUTURE = "EVENT_TIME_IN_FUTURE"
    PUBLISHED_IN_FUTURE = "PUBLISHED_IN_FUTURE"
    TOO_LARGE = "TOO_LARGE"


#: The anomaly type of a supplier whose feed has stopped: of no activity, and no rule's violation.
FEED_SILENT = "FEED_SILENT"

#: The match key.
KEY = ("supplier_id", "activity_id")
