"""The tables of the schemas `raw` and `cdr`: columns, types and descriptions.

DDL, polars schemas, Dagster column schemas, DuckDB comments and the published copy's columns are all derived from
here, so that a column is added or renamed in one place. The dbt project describes the marts.
"""

from dataclasses import dataclass
from enum import StrEnum

import polars as pl

# The schema of the users' own models.
OWN = "own"


class Kind(StrEnum):
    """A column's DuckDB type. `POLARS` maps it to the polars type of the frames that are written to it."""

    TEXT = "VARCHAR"
    INTEGER = "INTEGER"
    COUNT = "BIGINT"
    NUMBER = "DOUBLE"
    BOOLEAN = "BOOLEAN"
    LOCAL = "TIMESTAMP"  # wall clock of the tenant, without a zone
    INSTANT = "TIMESTAMPTZ"
    JSON = "JSON"
    BYTES = "BLOB"


POLARS: dict[Kind, pl.DataType] = {
    Kind.TEXT: pl.String(),
    Kind.INTEGER: pl.Int32(),
    Kind.COUNT: pl.Int64(),
    Kind.NUMBER: pl.Float64(),
    Kind.BOOLEAN: pl.Boolean(),
    Kind.LOCAL: pl.Datetime("us"),
    Kind.INSTANT: pl.Datetime("us", "UTC"),
    Kind.JSON: pl.String(),
    Kind.BYTES: pl.Binary(),
}


@dataclass(frozen=True)
class Column:
    """One column.

    In a child table, `names` lists the item's fields that the column may be read from, the preferred one first.
    """

    name: str
    kind: Kind
    description: str
    names: tuple[str, ...] = ()


@dataclass(frozen=True)
class Table:
    """One table. The last sentence of `description` states the grain."""

    schema: str
    name: str
    description: str
    columns: tuple[Column, ...]

    @property
    def full_name(self) -> str:
        return f"{self.schema}.{self.name}"

    @property
    def asset_key(self) -> list[str]:
        return [self.schema, self.name]

    @property
    def polars_schema(self) -> pl.Schema:
        return pl.Schema({column.name: POLARS[column.kind] for column in self.columns})


PARTITION_HOUR = Column(
    "partition_hour", Kind.LOCAL, "Local hour of the partition that the row belongs to (tenant's wall clock)."
)
CALL_KEY = Column("key", Kind.TEXT, "Unique ID of the call.")
POSITION = Column("position", Kind.INTEGER, "Position in the vendor's array, counted from 0.")
ITEM = Column("item", Kind.JSON, "The item as the vendor sent it.")
FILTERS = Column("filters", Kind.TEXT, "Filters of the fetch, as JSON; NULL if the whole hour was fetched.")


def _vendor(name: str, kind: Kind, description: str) -> Column:
    return Column(name, kind, description)


# The vendor's fields in the order of the vendor's documentation, which leaves out the name of `transferred`.
VENDOR_COLUMNS: tuple[Column, ...] = (
    CALL_KEY,
    _vendor("callid", Kind.TEXT, "Call-ID header of SIP; all legs of one contact have the same one."),
    _vendor("queued", Kind.BOOLEAN, "True if the call entered any queue."),
    _vendor("answered", Kind.BOOLEAN, "True if the call was answered."),
    _vendor("assigned", Kind.BOOLEAN, "True if the ACD assigned the call to an agent."),
    _vendor("abandon", Kind.BOOLEAN, "True if nobody answered the call."),
    _vendor("queuedate", Kind.LOCAL, "When the call entered the queue (tenant's wall clock)."),
    _vendor("calldate", Kind.LOCAL, "When the call started (tenant's wall clock)."),
    _vendor("talkdate", Kind.LOCAL, "When talking started, if the call was answered (tenant's wall clock)."),
    _vendor("hangupdate", Kind.LOCAL, "When the call was hung up (tenant's wall clock)."),
    _vendor("waitduration", Kind.INTEGER, "Waiting time in seconds, including ringing."),
    _vendor("duration", Kind.INTEGER, "Length of the whole call in seconds: hangupdate - calldate."),
    _vendor("sl", Kind.BOOLEAN, "True if the call was answered within the service level threshold."),
    _vendor("shortcall", Kind.BOOLEAN, "True if the call was abandoned within the short call threshold."),
    _vendor("callerid", Kind.TEXT, "Phone number of the caller."),
    _vendor("called_num", Kind.TEXT, "Called number."),
    _vendor("queue", Kind.TEXT, "Name of the queue."),
    _vendor("inbound", Kind.BOOLEAN, "True if the call is inbound."),
    _vendor("agent", Kind.TEXT, "Username (e-mail address) of the agent."),
    _vendor("agentid", Kind.TEXT, "Unique ID of the agent."),
    _vendor("hold", Kind.INTEGER, "Number of times the agent held the call."),
    _vendor("holdduration", Kind.INTEGER, "Total time on hold in seconds."),
    _vendor("queuekey", Kind.TEXT, "Unique ID of the queue."),
    _vendor("voicemail", Kind.BOOLEAN, "True if a voicemail message exists for the call."),
    _vendor("uniqueid", Kind.TEXT, "Transaction ID that was supplied when click2call was triggered."),
    _vendor("recordingurl", Kind.TEXT, "URL of the recording. Its signature may differ at each fetch."),
    _vendor("localrelease", Kind.BOOLEAN, "True if the call was ended locally (by the agent's side)."),
    _vendor("answeredby", Kind.TEXT, "Answering information defined in the IVR."),
    _vendor("transferred", Kind.INTEGER, "Number of times the call was transferred."),
    _vendor("channel", Kind.TEXT, "Channel information of the call."),
)

CALL_DATES = ("queuedate", "calldate", "talkdate", "hangupdate")
DURATIONS = ("waitduration", "duration", "holdduration")

# Fields that may differ at every fetch although the call did not change. They do not count as a change.
VOLATILE_FIELDS = ("recordingurl",)

# The vendor's arrays. A parameter of the request asks for each, and each is exploded to the child table of its name.
ARRAYS = ("call_history", "csat_answers", "call_tags")

CALLS = Table(
    "cdr",
    "calls",
    "Typed calls, with the vendor's field names. Calls that the API no longer lists are kept and marked. "
    "One row per call (key).",
    (
        CALL_KEY,
        PARTITION_HOUR,
        *VENDOR_COLUMNS[1:],
        *(Column(f"{name}_utc", Kind.INSTANT, f"Instant of {name}.") for name in CALL_DATES),
        *(
            Column(
                f"{name}_count",
                Kind.INTEGER,
                f"Number of {name} items; 0 if there are none, NULL if they were never requested.",
            )
            for name in ARRAYS
        ),
        Column(
            "extra",
            Kind.JSON,
            "Fields that the vendor does not document, and original values that could not be read as their column's "
            "type, were rounded, or cannot be true.",
        ),
        Column(
            "set_aside",
            Kind.JSON,
            "Why a column is NULL although a value was sent (extra keeps the value): an object of field names and "
            "reasons.",
        ),
        Column(
            "content_hash",
            Kind.TEXT,
            "Hashes of the record (without volatile fields) and of each array, joined by dots; 0 for an empty array, - "
            "for one that was never requested. It changes when the call changes.",
        ),
        Column("fetched_at", Kind.INSTANT, "When this content of the call was first fetched."),
        Column(
            "vanished_at",
            Kind.INSTANT,
            "When a load first found that the API no longer lists the call; NULL if it still does.",
        ),
    ),
)

CALL_HISTORY = Table(
    "cdr",
    "call_history",
    "Events of a call's history, in the vendor's order. One row per event (key, position).",
    (
        CALL_KEY,
        PARTITION_HOUR,
        POSITION,
        Column("event", Kind.TEXT, "What happened.", ("event", "type", "action", "name")),
        Column("date", Kind.LOCAL, "When it happened (tenant's wall clock).", ("date", "eventdate", "time")),
        Column("agent", Kind.TEXT, "Agent of the event.", ("agent", "agent_username", "username")),
        Column("queue", Kind.TEXT, "Queue of the event.", ("queue", "queue_name")),
        ITEM,
    ),
)

CSAT_ANSWERS = Table(
    "cdr",
    "csat_answers",
    "Answers of the customer satisfaction survey. One row per answer (key, position).",
    (
        CALL_KEY,
        PARTITION_HOUR,
        POSITION,
        Column("survey", Kind.TEXT, "Name of the survey.", ("survey", "survey_name")),
        Column("question", Kind.TEXT, "The question.", ("question", "question_text")),
        Column("answer", Kind.TEXT, "The answer as text.", ("answer", "value", "score")),
        Column("score", Kind.NUMBER, "The answer as a number.", ("score", "answer", "value")),
        Column("scale", Kind.NUMBER, "The best possible score.", ("scale", "max_score", "max")),
        Column("date", Kind.LOCAL, "When the caller answered (tenant's wall clock).", ("date", "answerdate")),
        ITEM,
    ),
)

CALL_TAGS = Table(
    "cdr",
    "call_tags",
    "Tags of a call. One row per tag of a call (key, position).",
    (
        CALL_KEY,
        PARTITION_HOUR,
        POSITION,
        Column("tag", Kind.TEXT, "The tag.", ("tag", "name", "label")),
        ITEM,
    ),
)

CHILDREN: dict[str, Table] = {table.name: table for table in (CALL_HISTORY, CSAT_ANSWERS, CALL_TAGS)}

REJECTED_RECORDS = Table(
    "cdr",
    "rejected_records",
    "Records that could not become a call, as the vendor sent them. One row per record.",
    (
        PARTITION_HOUR,
        Column("page_number", Kind.INTEGER, "Page of the record, counted from 0."),
        POSITION,
        Column("reason", Kind.TEXT, "Why it could not become a call."),
        Column("record", Kind.JSON, "The record as the vendor sent it."),
    ),
)

LOADS = Table(
    "cdr",
    "loads",
    "What each fetch of a partition returned. served = loaded + repeated + outside_window + rejected. "
    "Calls of a fetch with filters are merged by key; it has a row for each hour in which it added or changed calls. "
    "One row per fetch of a partition.",
    (
        PARTITION_HOUR,
        FILTERS,
        Column("fetched_at", Kind.INSTANT, "When the last page was fetched."),
        Column("loaded_at", Kind.INSTANT, "When the calls were written."),
        Column("requests", Kind.COUNT, "HTTP requests sent; NULL for a fetch with filters, which spans hours."),
        Column("retries", Kind.COUNT, "Requests that repeated a failed one; NULL for a fetch with filters."),
        Column("pages", Kind.COUNT, "Pages received; NULL for a fetch with filters."),
        Column("served", Kind.COUNT, "Records received."),
        Column(
            "outside_window",
            Kind.COUNT,
            "Records whose calldate lies outside the hour; they belong to another hour and are not loaded here.",
        ),
        Column(
            "elsewhere",
            Kind.COUNT,
            "Records of outside_window that were not requested at all: each request covers the hour and the second "
            "before it. They are loaded only if their own hour lists them.",
        ),
        Column(
            "repeated",
            Kind.COUNT,
            "Records whose key came again later in the same fetch; only the last record of a key is loaded.",
        ),
        Column("rejected", Kind.COUNT, "Records that could not become a call (see rejected_records)."),
        Column("loaded", Kind.COUNT, "Calls loaded."),
        Column("new", Kind.COUNT, "Calls that the hour did not list before."),
        Column("changed", Kind.COUNT, "Calls that the hour listed before with different content."),
        Column("vanished", Kind.COUNT, "Stored calls that the API no longer lists; kept and marked."),
        Column("moved", Kind.COUNT, "Calls of this fetch that are stored in another hour, where they are listed too."),
        Column("content_hash", Kind.TEXT, "Hash over the hour's calls; equal hashes mean equal calls."),
        Column("run_id", Kind.TEXT, "Dagster run that loaded it."),
        Column("error", Kind.TEXT, "Why the fetch or its load failed and changed nothing; NULL if it succeeded."),
    ),
)

CDR_PAGES = Table(
    "raw",
    "cdr_pages",
    "Pages as the vendor sent them: of each hour the newest whole fetch, and the newest fetch with each set of "
    "filters. One row per page.",
    (
        PARTITION_HOUR,
        FILTERS,
        Column("arrays", Kind.TEXT, "The arrays that were requested, joined by commas."),
        Column("page_number", Kind.INTEGER, "Position in the fetch, counted from 0."),
        Column("window_start", Kind.LOCAL, "Earlier records belong to another page (tenant's wall clock)."),
        Column("window_finish", Kind.LOCAL, "Records from this time on belong to another page (tenant's wall clock)."),
        Column("record_count", Kind.INTEGER, "Records in the page."),
        Column("requests", Kind.INTEGER, "HTTP requests sent for the page; more than 1 means retries."),
        Column("fetched_at", Kind.INSTANT, "When the page was received."),
        Column("content_hash", Kind.TEXT, "Hash of the body."),
        Column("body_size", Kind.COUNT, "Size of the uncompressed body in bytes."),
        Column("body", Kind.BYTES, "The response as the vendor sent it, in UTF-8, compressed with zstd."),
        Column("run_id", Kind.TEXT, "Dagster run that fetched it."),
    ),
)

# cdr.unknown_fields lists a limited number of names. This name, with the type "any", stands for all others.
MORE = "(more)"

UNKNOWN_FIELDS = Table(
    "cdr",
    "unknown_fields",
    "Fields that the vendor sends and that have no column; extra and item keep their values. "
    "One row per table, name and type.",
    (
        Column("table_name", Kind.TEXT, "Table whose records or items have the field."),
        Column(
            "name",
            Kind.TEXT,
            "Name of the field; (item) for an item of an unknown kind; (more) for all names beyond the limit.",
        ),
        Column(
            "type", Kind.TEXT, "JSON type of the value: string, number, boolean, object, array or null; any for (more)."
        ),
        Column("partition_hour", Kind.LOCAL, "First local hour with the field (tenant's wall clock)."),
        Column("noticed_at", Kind.INSTANT, "When the field was first loaded."),
    ),
)

STALE_HOURS = Table(
    "cdr",
    "stale_hours",
    "Hours whose calls have changed since the marts were built; emptied when the marts are built. "
    "One row per hour and reason.",
    (
        Column("hour", Kind.LOCAL, "Local hour (tenant's wall clock)."),
        Column(
            "reason",
            Kind.TEXT,
            "'partition': calls of this partition changed; 'touched': before or after its change, a call started, "
            "waited, talked or ended in this hour.",
        ),
    ),
)

HOURS_WITHOUT_PAGES = Table(
    "cdr",
    "hours_without_pages",
    "Hours with calls that an older version of cdr_assets typed and whose raw pages were already deleted when the "
    "rules changed. Values that cannot be true were set aside; values that the older version could not read were not "
    "read again. Fetching an hour again removes it from this table. One row per hour.",
    (
        PARTITION_HOUR,
        Column("calls", Kind.COUNT, "Calls of the hour whose raw pages were deleted."),
        Column("marked_at", Kind.INSTANT, "When the hour was added to this table."),
    ),
)

HOURS_TO_RETYPE = Table(
    "raw",
    "hours_to_retype",
    "Hours that an older version of cdr_assets typed; the next run types them again from their stored pages. "
    "One row per hour.",
    (PARTITION_HOUR,),
)

UNPUBLISHED_HOURS = Table(
    "cdr",
    "unpublished_hours",
    "Hours of the large tables that differ from the published copy; emptied when the copy is published. "
    "One row per table and hour.",
    (
        Column("table_name", Kind.TEXT, "A mart, or 'calls' for the calls and their child tables."),
        Column("hour", Kind.LOCAL, "The partition_hour of the rows; NULL for the whole table."),
    ),
)

NEWLY_PUBLISHED_HOURS = Table(
    "raw",
    "newly_published_hours",
    "Hours that the last publishing wrote to the published copy; the previous copy does not have them yet. "
    "One row per table and hour.",
    UNPUBLISHED_HOURS.columns,
)

PUBLISHED_COPY = Table(
    "raw",
    "published_copy",
    "Identity of the published copy and of the previous one. A file that still matches its row is updated; "
    "otherwise the copy is written from scratch. One row per file.",
    (
        Column("inode", Kind.COUNT, "Inode number of the file."),
        Column("size", Kind.COUNT, "Size of the file in bytes."),
        Column("modified", Kind.COUNT, "When the file was written, in nanoseconds since 1970."),
        Column("made_of", Kind.TEXT, "Hash of its columns, of how phone numbers are shown, and of the secret key."),
        Column(
            "compared_until",
            Kind.LOCAL,
            "Last hour that a publishing compared with the warehouse; the next one continues after it.",
        ),
    ),
)

TABLES: tuple[Table, ...] = (
    CDR_PAGES,
    CALLS,
    CALL_HISTORY,
    CSAT_ANSWERS,
    CALL_TAGS,
    REJECTED_RECORDS,
    LOADS,
    UNKNOWN_FIELDS,
    HOURS_WITHOUT_PAGES,
    HOURS_TO_RETYPE,
    STALE_HOURS,
    UNPUBLISHED_HOURS,
    NEWLY_PUBLISHED_HOURS,
    PUBLISHED_COPY,
)
