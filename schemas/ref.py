"""Reference data: versioned, append-only configuration."""

from pyspark.sql.types import DateType, StructType

from schemas.types import LONG, RATE, STRING, TIMESTAMP, TOLERANCE, Table, column

POLICIES = Table(
    path="ref/policies",
    comment="Every policy version ever applied, one row a version and supplier, all values resolved",
    schema=StructType(
        [
            column("policy_version", LONG, "Number of this application of a policies file, from 1"),
            column("supplier_id", STRING, "Supplier; null for the defaults that a supplier not listed has"),
            column("mode", STRING, "NRT_HOURLY or DAILY_ONLY"),
            column("grace_seconds", LONG, "How long one side may wait for the other, seconds"),
            column("versions", STRING, "aligned: both sides number versions alike; or independent"),
            column("abs_tol_usd", TOLERANCE, "Absolute price tolerance, US dollars"),
            column("pct_tol", TOLERANCE, "Relative price tolerance, ratio of AGODA's amount (0.01 is 1 percent)"),
            column("allowed_skew_seconds", LONG, "Greatest allowed distance of the two event times, seconds"),
            column("max_delay_seconds", LONG, "Published later than this after it happened is delayed, seconds"),
            column("high_usd", TOLERANCE, "Severity HIGH from this amount at risk, US dollars"),
            column("critical_usd", TOLERANCE, "Severity CRITICAL from this amount at risk, US dollars"),
            column("format", STRING, "Name of the supplier's payload format; null for the contract's own"),
            column("applied_at", TIMESTAMP, "When this version was applied, UTC"),
            column("file_hash", STRING, "SHA-256 of the policies file, hexadecimal"),
        ]
    ),
    owner="policies",
)

FORMATS = Table(
    path="ref/formats",
    comment="The payload formats that each policy version names, one row a version and format, as they were applied",
    schema=StructType(
        [
            column("policy_version", LONG, "Version of ref/policies, whose applied_at is this row's too"),
            column("format", STRING, "Name of the format, by which policies name it"),
            column("definition", STRING, "The format, resolved, as JSON"),
            column("file_hash", STRING, "SHA-256 of the format's file, hexadecimal"),
            column("applied_at", TIMESTAMP, "When this version was applied, UTC"),
        ]
    ),
    owner="policies",
)

FX_RATES = Table(
    path="ref/fx_rates",
    comment="Every FX rate ever loaded; for one date and currency the highest fx_version holds",
    schema=StructType(
        [
            column("rate_date", DateType(), "UTC date the rate is of"),
            column("currency", STRING, "ISO 4217 code"),
            column("usd_per_unit", RATE, "US dollars for one whole unit of the currency"),
            column("fx_version", LONG, "Number of this load of a rates file, from 1"),
            column("loaded_at", TIMESTAMP, "When this version was loaded, UTC"),
        ]
    ),
    owner="fx",
)
