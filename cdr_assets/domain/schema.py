"""Every table of the pipeline's own schemas (`raw`, `cdr`), once: columns, types and descriptions.

DDL, polars schemas, Dagster column schemas, DuckDB comments and the published copy's columns are all derived from
here, so that a column is added or renamed in one place. The marts are described in the dbt project, not here.
"""

from dataclasses import dataclass
from enum import StrEnum

import polars as pl

# The schema of the models that users keep beside ours.
OWN = "own"


class Kind(StrEnum):
    """A column's DuckDB type; `POLARS` gives the polars type that it is written from."""

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

    `names` are the names that an item of a child table may use for it, the preferred first.
    """

    name: str
    kind: Kind
    description: str
    names: tuple[str, ...] = ()


@dataclass(frozen=True)
class Table:
    """One table; `description` ends with the grain."""

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
    "partition_hour", Kind.LOCAL, "Local hour of the partition that holds the row (tenant's wall clock)."
)
CALL_KEY = Column("key", Kind.TEXT, "Unique ID of the call.")
POSITION = Column("position", Kind.INTEGER, "Place in the vendor's array, from 0.")
ITEM = Column("item", Kind.JSON, "The item as the vendor sent it.")
FILTERS = Column(
    "filters", Kind.TEXT, "What narrowed the fetch to some calls, as JSON; NULL where the whole hour was asked for."
)


def _vendor(name: str, kind: Kind, description: str) -> Column:
    return Column(name, kind, description)


# The vendor's fields in the order of the vendor's page. `transferred` is the field whose name that page leaves out.
VENDOR_COLUMNS: tuple[Column, ...] = (
    CALL_KEY,
    _vendor("callid", Kind.TEXT, "Call-ID header of SIP; the legs of one contact share it."),
    _vendor("queued", Kind.BOOLEAN, "True if the call entered any queue."),
    _vendor("answered", Kind.BOOLEAN, "True if the call was answered."),
    _vendor("assigned", Kind.BOOLEAN, "True if the ACD assigned the call to an agent."),
    _vendor("abandon", Kind.BOOLEAN, "True if nobody answered the call."),
    _vendor("queuedate", Kind.LOCAL, "When the call entered the queue (tenant's wall clock)."),
    _vendor("calldate", Kind.LOCAL, "When the call started (tenant's wall clock)."),
    _vendor("talkdate", Kind.LOCAL, "When talking started, if the call was answered (tenant's wall clock)."),
    _vendor("hangupdate", Kind.LOCAL, "When the call was hung up (tenant's wall clock)."),
    _vendor("waitduration", Kind.INTEGER, "Wait in seconds, ringing included."),
    _vendor("duration", Kind.INTEGER, "Whole length in seconds: hangupdate - calldate."),
    _vendor("sl", Kind.BOOLEAN, "True if the call was answered within the service level threshold."),
    _vendor("shortcall", Kind.BOOLEAN, "True if the call was abandoned within the short call threshold."),
    _vendor("callerid", Kind.TEXT, "Phone number of the caller."),
    _vendor("called_num", Kind.TEXT, "Called number."),
    _vendor("queue", Kind.TEXT, "Name of the queue."),
    _vendor("inbound", Kind.BOOLEAN, "True if the call came in."),
    _vendor("agent", Kind.TEXT, "Username (e-mail address) of the agent."),
    _vendor("agentid", Kind.TEXT, "Unique ID of the agent."),
    _vendor("hold", Kind.INTEGER, "Number of times the agent held the call."),
    _vendor("holdduration", Kind.INTEGER, "Time on hold in seconds, all holds together."),
    _vendor("queuekey", Kind.TEXT, "Unique ID of the queue."),
    _vendor("voicemail", Kind.BOOLEAN, "True if a voicemail message exists for the call."),
    _vendor("uniqueid", Kind.TEXT, "Transaction ID that was supplied when click2call was triggered."),
    _vendor("recordingurl", Kind.TEXT, "URL of the recording. May be signed anew at each reading."),
    _vendor("localrelease", Kind.BOOLEAN, "True if the call was ended locally (by the agent's side)."),
    _vendor("answeredby", Kind.TEXT, "Answering knowledge defined in the IVR."),
    _vendor("transferred", Kind.INTEGER, "Number of times the call was transferred."),
    _vendor("channel", Kind.TEXT, "Channel information of the call."),
)

CALL_DATES = ("queuedate", "calldate", "talkdate", "hangupdate")
DURATIONS = ("waitduration", "duration", "holdduration")

# Fields that may differ at every reading without the call having changed: they don't count as a change.
VOLATILE_FIELDS = ("recordingurl",)

# The vendor's arrays, each asked for by a parameter of its own, each exploded to the child table of the same name.
ARRAYS = ("call_history", "csat_answers", "call_tags")

CALLS = Table(
    "cdr",
    "calls",
    "Calls, typed, under the vendor's field names. A vanished call is kept and marked. One row per call (key).",
    (
        CALL_KEY,
        PARTITION_HOUR,
        *VENDOR_COLUMNS[1:],
        *(Column(f"{name}_utc", Kind.INSTANT, f"Instant of {name}.") for name in CALL_DATES),
        *(
            Column(
                f"{name}_count",
                Kind.INTEGER,
                f"Number of {name} items; 0 if there are none, NULL if they were not asked for.",
            )
            for name in ARRAYS
        ),
        Column(
            "extra",
            Kind.JSON,
            "Fields that the vendor's page does not name, and values that could not be read as their column's type, or "
            "cannot be true.",
        ),
        Column(
            "set_aside",
            Kind.JSON,
            "Why columns are NULL although a value was sent, which extra keeps: an object of field names and reasons.",
        ),
        Column(
            "content_hash",
            Kind.TEXT,
            "Hashes of the record without volatile fields and of each array, joined by dots; 0 is an empty array and - "
            "one that was not asked for. Changes when the call does.",
        ),
        Column("fetched_at", Kind.INSTANT, "When this content of the call was first fetched."),
        Column(
            "vanished_at",
            Kind.INSTANT,
            "When the API was first seen not to list the call any more; else NULL.",
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
        Column("date", Kind.LOCAL, "When (tenant's wall clock).", ("date", "eventdate", "time")),
        Column("agent", Kind.TEXT, "Agent concerned.", ("agent", "agent_username", "username")),
        Column("queue", Kind.TEXT, "Queue concerned.", ("queue", "queue_name")),
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
        Column("answer", Kind.TEXT, "The answer as given.", ("answer", "value", "score")),
        Column("score", Kind.NUMBER, "The answer as a number.", ("score", "answer", "value")),
        Column("scale", Kind.NUMBER, "The best score possible.", ("scale", "max_score", "max")),
        Column("date", Kind.LOCAL, "When answered (tenant's wall clock).", ("date", "answerdate")),
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
    "What could not become a call, verbatim. One row per record refused.",
    (
        PARTITION_HOUR,
        Column("page_number", Kind.INTEGER, "Page that held it, from 0."),
        POSITION,
        Column("reason", Kind.TEXT, "Why it could not become a call."),
        Column("record", Kind.JSON, "The record as the vendor sent it."),
    ),
)

LOADS = Table(
    "cdr",
    "loads",
    "What each fetch of a partition brought. served = loaded + repeated + outside_window + rejected. "
    "A fetch that was narrowed (filters) merges its calls by key and has a row in each hour that it brought calls of. "
    "One row per fetch of a partition.",
    (
        PARTITION_HOUR,
        FILTERS,
        Column("fetched_at", Kind.INSTANT, "When the last page was fetched."),
        Column("loaded_at", Kind.INSTANT, "When the calls were written."),
        Column("requests", Kind.COUNT, "HTTP requests sent; NULL for a narrowed fetch, whose pages are of many hours."),
        Column("retries", Kind.COUNT, "Requests that repeated a failed one; NULL as requests."),
        Column("pages", Kind.COUNT, "Pages received; NULL as requests."),
        Column("served", Kind.COUNT, "Records received."),
        Column(
            "outside_window",
            Kind.COUNT,
            "Records whose calldate lies outside the hour; their own hour holds them.",
        ),
        Column(
            "elsewhere",
            Kind.COUNT,
            "Records of outside_window whose calldate is not even in the second before the hour, which is asked for "
            "too: they are loaded only if their own hour lists them.",
        ),
        Column(
            "repeated",
            Kind.COUNT,
            "Records whose key came again later in the same fetch; the later one counts.",
        ),
        Column("rejected", Kind.COUNT, "Records that could not become a call (see rejected_records)."),
        Column("loaded", Kind.COUNT, "Calls loaded."),
        Column("new", Kind.COUNT, "Calls that the hour did not list before."),
        Column("changed", Kind.COUNT, "Calls that the hour listed before with another content."),
        Column("vanished", Kind.COUNT, "Calls known before that the API no longer lists; kept and marked."),
        Column("moved", Kind.COUNT, "Calls of this load that a later one found in another hour, where they now live."),
        Column("content_hash", Kind.TEXT, "Hash over the hour's calls; the same hash means the same hour."),
        Column("run_id", Kind.TEXT, "Dagster run that loaded it."),
        Column("error", Kind.TEXT, "Why the fetch failed and changed nothing; NULL if it did not fail."),
    ),
)

CDR_PAGES = Table(
    "raw",
    "cdr_pages",
    "Pages as the vendor sent them: the newest whole fetch of each hour, and beside it the newest fetch of each kind "
    "that was narrowed (filters). One row per page.",
    (
        PARTITION_HOUR,
        FILTERS,
        Column("arrays", Kind.TEXT, "The arrays that were asked for, joined by commas."),
        Column("page_number", Kind.INTEGER, "Place in the fetch, from 0."),
        Column("window_start", Kind.LOCAL, "Records before it are another page's (tenant's wall clock)."),
        Column("window_finish", Kind.LOCAL, "Records from it on are another page's (tenant's wall clock)."),
        Column("record_count", Kind.INTEGER, "Records in the page."),
        Column("requests", Kind.INTEGER, "HTTP requests that the page took; more than 1 means retries."),
        Column("fetched_at", Kind.INSTANT, "When the page was received."),
        Column("content_hash", Kind.TEXT, "Hash of the body."),
        Column("body_size", Kind.COUNT, "Bytes of the answer."),
        Column("body", Kind.BYTES, "The answer, verbatim, in UTF-8, compressed by zstd."),
        Column("run_id", Kind.TEXT, "Dagster run that fetched it."),
    ),
)

# The name, with the type "any", that stands in cdr.unknown_fields for names beyond those that are told.
MORE = "(more)"

UNKNOWN_FIELDS = Table(
    "cdr",
    "unknown_fields",
    "What the vendor sends and no column is read from; it is kept in extra and in the items. "
    "One row per table, name and type.",
    (
        Column("table_name", Kind.TEXT, "Table whose records or items have it."),
        Column(
            "name",
            Kind.TEXT,
            "The field; (item) where an item is of a kind that is not known; (more) for names too many to tell.",
        ),
        Column(
            "type", Kind.TEXT, "What JSON calls the value: string, number, boolean, object, array, null; any of (more)."
        ),
        Column("partition_hour", Kind.LOCAL, "First local hour that has it (tenant's wall clock)."),
        Column("noticed_at", Kind.INSTANT, "When it was first loaded."),
    ),
)

STALE_HOURS = Table(
    "cdr",
    "stale_hours",
    "Hours whose marts are older than their calls; emptied when the marts have taken them in. "
    "One row per hour and reason.",
    (
        Column("hour", Kind.LOCAL, "Local hour (tenant's wall clock)."),
        Column(
            "reason",
            Kind.TEXT,
            "'partition': calls of this partition changed; 'touched': a changed call, in its old or new content, "
            "started, waited, talked or ended in this hour.",
        ),
    ),
)

HOURS_WITHOUT_PAGES = Table(
    "cdr",
    "hours_without_pages",
    "Hours with calls that an older version of cdr_assets typed, and whose pages were gone when its rules changed: "
    "values that cannot be true were set aside, those that could not be read were not read again. An hour that is read "
    "again leaves this table. One row per hour.",
    (
        PARTITION_HOUR,
        Column("calls", Kind.COUNT, "Calls of the hour whose pages were gone."),
        Column("marked_at", Kind.INSTANT, "When that was found."),
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
    "Hours of the large tables that differ from the published copy; emptied when it has taken them in. "
    "One row per table and hour.",
    (
        Column("table_name", Kind.TEXT, "A mart, or 'calls' for the calls and their arrays."),
        Column("hour", Kind.LOCAL, "The partition_hour of the rows; NULL for all of them."),
    ),
)

NEWLY_PUBLISHED_HOURS = Table(
    "raw",
    "newly_published_hours",
    "What the last publishing took from cdr.unpublished_hours: the copy before it lacks these. "
    "One row per table and hour.",
    UNPUBLISHED_HOURS.columns,
)

PUBLISHED_COPY = Table(
    "raw",
    "published_copy",
    "The published copy, and the one before it, as the pipeline left them: to be brought up to date if they still are "
    "that, else to be made anew. One row per file.",
    (
        Column("inode", Kind.COUNT, "Of the file."),
        Column("size", Kind.COUNT, "Of the file, in bytes."),
        Column("modified", Kind.COUNT, "When the file was written, in nanoseconds since 1970."),
        Column("made_of", Kind.TEXT, "Hash over its columns, how phone numbers are shown, and the key for that."),
        Column(
            "compared_until", Kind.LOCAL, "Last hour that was compared with the warehouse; the next publishing goes on."
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
