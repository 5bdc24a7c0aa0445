"""Reading rows and facts back, live or as of a block: what the API is made of.

    page = read(engine, lambda c: select_rows(c, Campaign.spec, source, limit=20))
    page.data    b'[{"campaign":"0x…","raised":"1200"}, …]'   ready to send
    page.block   the block it is true for
    page.next    where the next page begins, None at the end

Each read is one statement in autocommit: rows, checkpoint and block come from one
snapshot, and the snapshot is taken after the statement holds its tables. A transaction
with an older snapshot would find a table rebuilt meanwhile empty; rows are therefore
never read in repeatable read. Live rows come through the view `state.<plural>`, whose
name stays while `migrate` puts another table behind it; one statement reads one view,
so that a read and a migration cannot wait for each other.

| form     | values                                             | JSON               |
|----------|----------------------------------------------------|--------------------|
| hex      | addresses, hashes, bytes                           | `"0x…"`            |
| base58   | keys and signatures of Solana                      | base58             |
| decimal  | Uint, Int, Sum, expressions of numbers, `position` | `"123"`, any size  |
| number   | Uint and Int of up to 48 bits, Count, `height`     | 123, below 2^53    |
| boolean  | Bool, comparisons                                  | true, false        |
| text     | Text, Stage                                        | string             |
| json     | Json, Replay                                       | as it is           |
| meant    | what has a meaning: `db.declare.meanings`          | text, as it says   |

`in_units=False` has what means something as it is stored, whole numbers as text.

A filter with one value asks for equality, with several for any of them. Rows are
filtered by what they have an index for. Facts are filtered by all that they hold: where
there is no index a page looks at `SCAN_MOST` facts, says so, and is gone on with as any
other. Counting ends at `COUNT_MOST`.
"""

from db.reads.engine import read, read_engine
from db.reads.errors import (
    BadCursor,
    BadQuery,
    DatabaseAway,
    NothingIndexed,
    NotYetIndexed,
    PartlyIndexed,
    ReadError,
    SchemaChanged,
    TooSlow,
)
from db.reads.facts import SCAN_MOST, select_facts
from db.reads.forms import Column, ValueForm, form_of, parse
from db.reads.freshness import (
    BLOCKS,
    BlockInfo,
    Freshness,
    checkpoint,
    read_freshness,
    read_freshness_again,
)
from db.reads.pages import COUNT_MOST, Page, Row
from db.reads.rows import select_row, select_rows
from db.reads.values import (
    ANY,
    OWN,
    asked,
    default_sort,
    fact_columns,
    fact_filters,
    fact_version,
    indexed_filters,
    is_range,
    row_columns,
    row_filters,
    row_version,
    sortable,
)

__all__ = [
    "ANY",
    "BLOCKS",
    "COUNT_MOST",
    "OWN",
    "SCAN_MOST",
    "BadCursor",
    "BadQuery",
    "BlockInfo",
    "Column",
    "DatabaseAway",
    "Freshness",
    "NotYetIndexed",
    "NothingIndexed",
    "Page",
    "PartlyIndexed",
    "ReadError",
    "Row",
    "SchemaChanged",
    "TooSlow",
    "ValueForm",
    "asked",
    "checkpoint",
    "default_sort",
    "fact_columns",
    "fact_filters",
    "fact_version",
    "form_of",
    "indexed_filters",
    "is_range",
    "parse",
    "read",
    "read_engine",
    "read_freshness",
    "read_freshness_again",
    "row_columns",
    "row_filters",
    "row_version",
    "select_facts",
    "select_row",
    "select_rows",
    "sortable",
]  # fmt: skip
