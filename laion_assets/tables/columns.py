"""How tables declare their columns: short names of Arrow's types, and one function."""

import pyarrow as pa

from laion_assets.delta.table import Column, Numbered

STRING, INT, LONG = pa.string(), pa.int32(), pa.int64()
FLOAT, DOUBLE, BOOL = pa.float32(), pa.float64(), pa.bool_()
TIME = pa.timestamp("us", tz="UTC")
VECTOR = pa.list_(pa.float32())


def column(
    name: str,
    type_: pa.DataType,
    description: str,
    *,
    nullable: bool = False,
    accepted: tuple[str, ...] = (),
    digested: bool = True,
    names_file: bool = False,
    file_sha256: str | None = None,
    is_period: bool = False,
    numbered: Numbered | None = None,
) -> Column:
    """A column; see :class:`Column`."""
    return Column(
        name=name,
        type=type_,
        description=description,
        nullable=nullable,
        accepted=accepted,
        digested=digested,
        names_file=names_file or file_sha256 is not None,
        file_sha256=file_sha256,
        is_period=is_period,
        numbered=numbered,
    )
