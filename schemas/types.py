"""The types that money, rates and times have everywhere, and the helper that writes a commented column."""

from dataclasses import dataclass, field

from pyspark.sql.types import (
    ArrayType,
    DataType,
    DecimalType,
    LongType,
    StringType,
    StructField,
    StructType,
    TimestampType,
)

STRING = StringType()
LONG = LongType()
TIMESTAMP = TimestampType()
STRINGS = ArrayType(StringType())

#: US dollars, six places: 10^15 minor units of a zero-exponent currency at 99,999 USD a unit still fit.
USD = DecimalType(28, 6)
#: US dollars for one whole unit of a currency.
RATE = DecimalType(17, 12)
#: US dollars for one minor unit; times an amount of 16 digits the product still is exact in 38 digits.
RATE_PER_MINOR = DecimalType(21, 16)
#: An amount in minor units as a decimal factor.
MINOR = DecimalType(16, 0)
#: A tolerance in US dollars or a ratio, as policies state it.
TOLERANCE = DecimalType(18, 6)
#: Seconds to the millisecond.
SECONDS = DecimalType(18, 3)


def column(name: str, kind: DataType, comment: str, nullable: bool = True) -> StructField:
    """A column whose comment says what it means and, where it has one, its unit."""
    return StructField(name, kind, nullable, {"comment": comment})


@dataclass(frozen=True)
class Table:
    """A Delta table: its path under the lake's root, its columns, and how it lies on disk."""

    path: str
    comment: str
    schema: StructType
    partition_by: tuple[str, ...] = ()
    #: The columns whose least and greatest values each file's entry in the log tells, so that readers skip files.
    #: Keeping them costs a quarter of a write where every column has them.
    skipping: tuple[str, ...] = ()
    properties: dict[str, str] = field(default_factory=dict)
    owner: str = "stream"

    @property
    def name(self) -> str:
        """The last part of the path, unique among all tables."""
        return self.path.rsplit("/", 1)[-1]

    @property
    def all_properties(self) -> dict[str, str]:
        """The table's Delta properties, with the columns that let readers skip files."""
        if not self.skipping:
            return self.properties
        return {"delta.dataSkippingStatsColumns": ",".join(self.skipping), **self.properties}
