"""Who had which payloads erased, when and why; nothing of what was erased."""

from pyspark.sql.types import StructType

from schemas.types import LONG, STRING, STRINGS, TIMESTAMP, Table, column

ERASURES = Table(
    path="gold/erasures",
    comment="Every request to erase a person's payloads: begun, and done; append-only, without personal data",
    schema=StructType(
        [
            column("request", STRING, "The request's number, as it is called where requests are kept"),
            column("state", STRING, "BEGUN, or DONE once no record that was looked for is left"),
            column("at", TIMESTAMP, "When it was begun or done, UTC"),
            column("erased_by", STRING, "User who ran it"),
            column("reason", STRING, "Why, as that user told"),
            column("selector", STRING, "What was looked for: FIELD, ANYWHERE, PERSON (a pseudonym) or ACTIVITY"),
            column("fields", STRINGS, "Paths that were looked at, sorted; empty where all of a record was"),
            column("bronze_records", LONG, "BEGUN: records of bronze to erase; DONE: those that bear its mark"),
            column("quarantine_records", LONG, "BEGUN: records of quarantine to erase; DONE: those that bear its mark"),
            column("bronze_version", LONG, "Delta version of bronze in which none was left; null for BEGUN"),
            column("quarantine_version", LONG, "Delta version of quarantine in which none was left; null for BEGUN"),
        ]
    ),
    owner="erase",
)
