"""The tables of the schemas `raw` and `cdr`: columns, types and descriptions.

DDL, polars schemas, Dagster column schemas, DuckDB comments and the published copy's columns are all derived from
here, so that a column is added or renamed in one place. The dbt project describes the marts.
"""

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

# Importing polars takes a third of a second, which commands that only read the published copy can do without.
if TYPE_CHECKING:
    import polars as pl

# The schema of the users' own models.
OWN = "own"


class Kind(StrEnum):
    """A column's DuckDB type."""

    TEXT = "VARCHAR"
    INTEGER = "INTEGER"
    COUNT = "BIGINT"
    NUMBER = "DOUBLE"
    BOOLEAN = "BOOLEAN"
    LOCAL = "TIMESTAMP"  # wall clock of the tenant, without a zone
    INSTANT = "TIMESTAMPTZ"
    JSON = "JSON"
    BYTES = "BLOB"


def polars_type(kind: Kind) -> "pl.DataType":
    """The polars type of the frames that are written to columns of this type."""
    import polars as pl

    return {
        Kind.TEXT: pl.String(),
        Kind.INTEGER: pl.Int32(),
        Kind.COUNT: pl.Int64(),
        Kind.NUMBER: pl.Float64(),
        Kind.BOOLEAN: pl.Boolean(),
        Kind.LOCAL: pl.Datetime("us"),
        Kind.INSTANT: pl.Datetime("us", "UTC"),
        Kind.JSON: pl.String(),
        Kind.BYTES: pl.Binary(),
    }[kind]


class Class(StrEnum):
    """What a column holds about people. It decides how the published copy shows the column (`publishing/shown.py`)."""

    IDENTIFIER = "identifier"  # an opaque id of the vendor's or ours
    REFERENCE = "reference"  # an id that others make, and that may be a phone number
    MEASURE = "measure"
    DATE = "date"
    NAME = "name"  # of a queue, an agent, a survey, a field
    NUMBER = "number"  # a phone number
    FREE_TEXT = "free text"  # may hold anything, phone numbers too
    LINK = "link"  # to a recorded voice
    FINGERPRINT = "fingerprint"  # a hash of content that a phone number is part of


@dataclass(frozen=True)
class Column:
    """One column.

    In a child table, `names` lists the item's fields that the column may be read from, the preferred one first.
    """

    name: str
    kind: Kind
    holds: Class
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
    def polars_schema(self) -> "pl.Schema":
        import polars as pl

        return pl.Schema({column.name: polars_type(column.kind) for column in self.columns})


PARTITION_HOUR = Column(
    "partition_hour",
    Kind.LOCAL,
    Class.DATE,
    "Local hour of the partition that the row belongs to (tenant's wall clock).",
)
CALL_KEY = Column("key", Kind.TEXT, Class.IDENTIFIER, "Unique ID of the call.")
POSITION = Column("position", Kind.INTEGER, Class.MEASURE, "Position in the vendor's array, counted from 0.")
EXTRA = Column(
    "extra",
    Kind.JSON,
    Class.FREE_TEXT,
    "What no column tells of the item: its other fields, and values that could not be read or cannot be true. An item "
    "that is no object, and that no column tells, is under the name (item).",
)
FILTERS = Column(
    "filters", Kind.TEXT, Class.FREE_TEXT, "Filters of the fetch, as JSON; NULL if the whole hour was fetched."
)


# The vendor's fields in the order of the vendor's documentation, which leaves out the name of `transferred`.
VENDOR_COLUMNS: tuple[Column, ...] = (
    CALL_KEY,
    Column("callid", Kind.TEXT, Class.REFERENCE, "Call-ID header of SIP; all legs of one contact have the same one."),
    Column("queued", Kind.BOOLEAN, Class.MEASURE, "True if the call entered any queue."),
    Column("answered", Kind.BOOLEAN, Class.MEASURE, "True if the call was answered."),
    Column("assigned", Kind.BOOLEAN, Class.MEASURE, "True if the ACD assigned the call to an agent."),
    Column("abandon", Kind.BOOLEAN, Class.MEASURE, "True if nobody answered the call."),
    Column("queuedate", Kind.LOCAL, Class.DATE, "When the call entered the queue (tenant's wall clock)."),
    Column("calldate", Kind.LOCAL, Class.DATE, "When the call started (tenant's wall clock)."),
    Column("talkdate", Kind.LOCAL, Class.DATE, "When talking started, if the call was answered (tenant's wall clock)."),
    Column("hangupdate", Kind.LOCAL, Class.DATE, "When the call was hung up (tenant's wall clock)."),
    Column("waitduration", Kind.INTEGER, Class.MEASURE, "Waiting time in seconds, including ringing."),
    Column("duration", Kind.INTEGER, Class.MEASURE, "Length of the whole call in seconds: hangupdate - calldate."),
    Column("sl", Kind.BOOLEAN, Class.MEASURE, "True if the call was answered within the service level threshold."),
    Column("shortcall", Kind.BOOLEAN, Class.MEASURE, "True if the call was abandoned within the short call threshold."),
    Column("callerid", Kind.TEXT, Class.NUMBER, "Phone number of the caller."),
    Column("called_num", Kind.TEXT, Class.NUMBER, "Called number."),
    Column("queue", Kind.TEXT, Class.NAME, "Name of the queue."),
    Column("inbound", Kind.BOOLEAN, Class.MEASURE, "True if the call is inbound."),
    Column("agent", Kind.TEXT, Class.NAME, "Username (e-mail address) of the agent."),
    Column("agentid", Kind.TEXT, Class.IDENTIFIER, "Unique ID of the agent."),
    Column("hold", Kind.INTEGER, Class.MEASURE, "Number of times the agent held the call."),
    Column("holdduration", Kind.INTEGER, Class.MEASURE, "Total time on hold in seconds."),
    Column("queuekey", Kind.TEXT, Class.IDENTIFIER, "Unique ID of the queue."),
    Column("voicemail", Kind.BOOLEAN, Class.MEASURE, "True if a voicemail message exists for the call."),
    Column("uniqueid", Kind.TEXT, Class.REFERENCE, "Transaction ID that was supplied when click2call was triggered."),
    Column("recordingurl", Kind.TEXT, Class.LINK, "URL of the recording. Its signature may differ at each fetch."),
    Column("localrelease", Kind.BOOLEAN, Class.MEASURE, "True if the call was ended locally (by the agent's side)."),
    Column("answeredby", Kind.TEXT, Class.FREE_TEXT, "Answering information defined in the IVR."),
    Column("transferred", Kind.INTEGER, Class.MEASURE, "Number of times the call was transferred."),
    Column("channel", Kind.TEXT, Class.FREE_TEXT, "Channel information of the call."),
)

CALL_DATES = ("queuedate", "calldate", "talkdate", "hangupdate")
CALL_NUMBERS = ("callerid", "called_num")
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
        *(Column(f"{name}_utc", Kind.INSTANT, Class.DATE, f"Instant of {name}.") for name in CALL_DATES),
        *(
            Column(
                f"{name}_e164",
                Kind.TEXT,
                Class.NUMBER,
                f"{name} in one spelling: E.164 (+905321234567) if it can be read as a number of CDR_COUNTRY or of the "
                "world, otherwise its digits, otherwise the text.",
            )
            for name in CALL_NUMBERS
        ),
        *(
            Column(
                f"{name}_count",
                Kind.INTEGER,
                Class.MEASURE,
                f"Number of {name} items; 0 if there are none, NULL if they were never requested.",
            )
            for name in ARRAYS
        ),
        Column(
            "extra",
            Kind.JSON,
            Class.FREE_TEXT,
            "Fields that the vendor does not document, and original values that could not be read as their column's "
            "type, were rounded, or cannot be true.",
        ),
        Column(
            "set_aside",
            Kind.JSON,
            Class.FREE_TEXT,
            "Why a column is NULL although a value was sent (extra keeps the value): an object of field names and "
            "reasons.",
        ),
        Column(
            "content_hash",
            Kind.TEXT,
            Class.FINGERPRINT,
            "Hashes of the record (without volatile fields) and of each array, joined by dots; 0 for an empty array, - "
            "for one that was never requested. It changes when the call changes.",
        ),
        Column("fetched_at", Kind.INSTANT, Class.DATE, "When this content of the call was first fetched."),
        Column(
            "vanished_at",
            Kind.INSTANT,
            Class.DATE,
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
        Column("event", Kind.TEXT, Class.FREE_TEXT, "What happened.", ("event", "type", "action", "name")),
        Column(
            "date", Kind.LOCAL, Class.DATE, "When it happened (tenant's wall clock).", ("date", "eventdate", "time")
        ),
        Column("agent", Kind.TEXT, Class.NAME, "Agent of the event.", ("agent", "agent_username", "username")),
        Column("queue", Kind.TEXT, Class.NAME, "Queue of the event.", ("queue", "queue_name")),
        EXTRA,
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
        Column("survey", Kind.TEXT, Class.NAME, "Name of the survey.", ("survey", "survey_name")),
        Column("question", Kind.TEXT, Class.FREE_TEXT, "The question.", ("question", "question_text")),
        Column("answer", Kind.TEXT, Class.FREE_TEXT, "The answer as text.", ("answer", "value", "score")),
        Column("score", Kind.NUMBER, Class.MEASURE, "The answer as a number.", ("score", "answer", "value")),
        Column("scale", Kind.NUMBER, Class.MEASURE, "The best possible score.", ("scale", "max_score", "max")),
        Column(
            "date", Kind.LOCAL, Class.DATE, "When the caller answered (tenant's wall clock).", ("date", "answerdate")
        ),
        EXTRA,
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
        Column("tag", Kind.TEXT, Class.FREE_TEXT, "The tag.", ("tag", "name", "label")),
        EXTRA,
    ),
)

CHILDREN: dict[str, Table] = {table.name: table for table in (CALL_HISTORY, CSAT_ANSWERS, CALL_TAGS)}

REJECTED_RECORDS = Table(
    "cdr",
    "rejected_records",
    "Records that could not become a call, as the vendor sent them. One row per record.",
    (
        PARTITION_HOUR,
        Column("page_number", Kind.INTEGER, Class.MEASURE, "Page of the record, counted from 0."),
        POSITION,
        Column("reason", Kind.TEXT, Class.FREE_TEXT, "Why it could not become a call."),
        Column("record", Kind.JSON, Class.FREE_TEXT, "The record as the vendor sent it."),
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
        Column("fetched_at", Kind.INSTANT, Class.DATE, "When the last page was fetched."),
        Column("loaded_at", Kind.INSTANT, Class.DATE, "When the calls were written."),
        Column(
            "requests",
            Kind.COUNT,
            Class.MEASURE,
            "HTTP requests sent; NULL for a fetch with filters, which spans hours.",
        ),
        Column(
            "retries", Kind.COUNT, Class.MEASURE, "Requests that repeated a failed one; NULL for a fetch with filters."
        ),
        Column("pages", Kind.COUNT, Class.MEASURE, "Pages received; NULL for a fetch with filters."),
        Column("served", Kind.COUNT, Class.MEASURE, "Records received."),
        Column(
            "outside_window",
            Kind.COUNT,
            Class.MEASURE,
            "Records whose calldate lies outside the hour; they belong to another hour and are not loaded here.",
        ),
        Column(
            "elsewhere",
            Kind.COUNT,
            Class.MEASURE,
            "Records of outside_window that were not requested at all: each request covers the hour and the second "
            "before it. They are loaded only if their own hour lists them.",
        ),
        Column(
            "repeated",
            Kind.COUNT,
            Class.MEASURE,
            "Records whose key came again later in the same fetch; only the last record of a key is loaded.",
        ),
        Column("rejected", Kind.COUNT, Class.MEASURE, "Records that could not become a call (see rejected_records)."),
        Column("loaded", Kind.COUNT, Class.MEASURE, "Calls loaded."),
        Column("new", Kind.COUNT, Class.MEASURE, "Calls that the hour did not list before."),
        Column("changed", Kind.COUNT, Class.MEASURE, "Calls that the hour listed before with different content."),
        Column("vanished", Kind.COUNT, Class.MEASURE, "Stored calls that the API no longer lists; kept and marked."),
        Column(
            "moved",
            Kind.COUNT,
            Class.MEASURE,
            "Calls of this fetch that are stored in another hour, where they are listed too.",
        ),
        Column(
            "content_hash", Kind.TEXT, Class.FINGERPRINT, "Hash over the hour's calls; equal hashes mean equal calls."
        ),
        Column("run_id", Kind.TEXT, Class.IDENTIFIER, "Dagster run that loaded it."),
        Column(
            "error",
            Kind.TEXT,
            Class.FREE_TEXT,
            "Why the fetch or its load failed and changed nothing; NULL if it succeeded.",
        ),
    ),
)

ERASURES = Table(
    "cdr",
    "erasures",
    "When callers were forgotten (`cdr forget`), and how many rows lost what was known of them; never who. One row per "
    "erasure.",
    (
        Column("began_at", Kind.INSTANT, Class.DATE, "When it began, or was continued after a kill."),
        Column(
            "finished_at",
            Kind.INSTANT,
            Class.DATE,
            "When every file was rewritten; NULL if it was killed before: the same command then continues it.",
        ),
        Column("seconds", Kind.NUMBER, Class.MEASURE, "How long it took, from the last start of the command."),
        Column("calls", Kind.COUNT, Class.MEASURE, "Calls whose texts changed."),
        Column("items", Kind.COUNT, Class.MEASURE, "Events, answers and tags of these calls."),
        Column("rejected_records", Kind.COUNT, Class.MEASURE, "Rejected records that changed."),
        Column("pages", Kind.COUNT, Class.MEASURE, "Raw pages that changed."),
        Column("other_texts", Kind.COUNT, Class.MEASURE, "Texts in other tables, such as errors in cdr.loads."),
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
        Column("arrays", Kind.TEXT, Class.NAME, "The arrays that were requested, joined by commas."),
        Column("page_number", Kind.INTEGER, Class.MEASURE, "Position in the fetch, counted from 0."),
        Column("window_start", Kind.LOCAL, Class.DATE, "Earlier records belong to another page (tenant's wall clock)."),
        Column(
            "window_finish",
            Kind.LOCAL,
            Class.DATE,
            "Records from this time on belong to another page (tenant's wall clock).",
        ),
        Column("record_count", Kind.INTEGER, Class.MEASURE, "Records in the page."),
        Column("requests", Kind.INTEGER, Class.MEASURE, "HTTP requests sent for the page; more than 1 means retries."),
        Column("fetched_at", Kind.INSTANT, Class.DATE, "When a page with these records was last received."),
        Column(
            "content_hash",
            Kind.TEXT,
            Class.FINGERPRINT,
            "Hash of the page's records: it is the same if the same records come with another cursor.",
        ),
        Column("body_size", Kind.COUNT, Class.MEASURE, "Size of the uncompressed body in bytes."),
        Column(
            "body",
            Kind.BYTES,
            Class.FREE_TEXT,
            "The first response with these records as the vendor sent it, in UTF-8, compressed with zstd.",
        ),
        Column("run_id", Kind.TEXT, Class.IDENTIFIER, "Dagster run that fetched it."),
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
        Column("table_name", Kind.TEXT, Class.NAME, "Table whose records or items have the field."),
        Column(
            "name",
            Kind.TEXT,
            Class.FREE_TEXT,
            "Name of the field; (item) for an item of an unknown kind; (more) for all names beyond the limit.",
        ),
        Column(
            "type",
            Kind.TEXT,
            Class.NAME,
            "JSON type of the value: string, number, boolean, object, array or null; any for (more).",
        ),
        Column("partition_hour", Kind.LOCAL, Class.DATE, "First local hour with the field (tenant's wall clock)."),
        Column("noticed_at", Kind.INSTANT, Class.DATE, "When the field was first loaded."),
    ),
)

#: The figures of an hour that tell whether it was restated: columns of marts.queue_hourly, summed over all queues.
FIGURES = (
    Column("calls", Kind.COUNT, Class.MEASURE, "Calls that the API listed"),
    Column("offered", Kind.COUNT, Class.MEASURE, "Calls that entered a queue"),
    Column("answered", Kind.COUNT, Class.MEASURE, "Offered calls that an agent answered"),
    Column("abandoned", Kind.COUNT, Class.MEASURE, "Offered calls whose caller hung up before an answer"),
    Column("answered_within_threshold", Kind.COUNT, Class.MEASURE, "Calls answered within their queue's threshold"),
    Column("wait_seconds_answered", Kind.COUNT, Class.MEASURE, "Seconds that answered calls waited"),
    Column("talk_seconds", Kind.COUNT, Class.MEASURE, "Seconds that answered calls talked"),
)

_LOCAL_HOUR = Column("local_hour", Kind.LOCAL, Class.DATE, "Local hour of the figures (tenant's wall clock).")
_WAS_FINAL = Column("was_final", Kind.BOOLEAN, Class.MEASURE, "True if the figures before were called final.")

FIGURES_BEFORE = Table(
    "raw",
    "figures_before",
    "Figures of the hours that are being built again, as they were before; emptied when the marts are built. "
    "One row per hour.",
    (_LOCAL_HOUR, _WAS_FINAL, *FIGURES),
)

RESTATEMENTS = Table(
    "cdr",
    "restatements",
    "Hours whose figures changed after they were built, because calls came late, changed or vanished. With no such "
    "call of the hour, calls of an hour near it count or wait in this one, or newer rules read the same calls "
    "otherwise. One row per local hour and change.",
    (
        _LOCAL_HOUR,
        Column("restated_at", Kind.INSTANT, Class.DATE, "When the marts were built with the new figures."),
        _WAS_FINAL,
        Column("new", Kind.COUNT, Class.MEASURE, "Calls of the hour that were new since its figures before."),
        Column("changed", Kind.COUNT, Class.MEASURE, "Calls of the hour that changed since then."),
        Column("vanished", Kind.COUNT, Class.MEASURE, "Calls of the hour that the API no longer listed."),
        *(
            Column(f"{figure.name}_{when}", figure.kind, figure.holds, f"{figure.description}, {when} the change.")
            for figure in FIGURES
            for when in ("before", "after")
        ),
    ),
)

STALE_HOURS = Table(
    "cdr",
    "stale_hours",
    "Hours whose calls have changed since the marts were built; emptied when the marts are built. "
    "One row per hour and reason.",
    (
        Column("hour", Kind.LOCAL, Class.DATE, "Local hour (tenant's wall clock)."),
        Column(
            "reason",
            Kind.TEXT,
            Class.FREE_TEXT,
            "'partition': calls of this partition changed; 'touched': before or after its change, a call started, "
            "waited, talked or ended in this hour; 'renamed': a ring of this hour got another agent in a build.",
        ),
    ),
)

BUILT_MARTS = Table(
    "raw",
    "built_marts",
    "What the marts were last built of. One row, or none before the first build.",
    (
        Column(
            "made_of",
            Kind.TEXT,
            Class.IDENTIFIER,
            "Hash of the models and of the settings that they read; NULL if the next run must build the marts.",
        ),
        Column(
            "own_made_of",
            Kind.TEXT,
            Class.IDENTIFIER,
            "Hash of the files of the user's own marts that were built since then; NULL if they must be built.",
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
        Column("calls", Kind.COUNT, Class.MEASURE, "Calls of the hour whose raw pages were deleted."),
        Column("marked_at", Kind.INSTANT, Class.DATE, "When the hour was added to this table."),
    ),
)

HOURS_TO_RETYPE = Table(
    "raw",
    "hours_to_retype",
    "Hours that an older version of cdr_assets typed; the next run types them again from their stored pages. "
    "One row per hour.",
    (PARTITION_HOUR,),
)

TYPED_HOURS = Table(
    "raw",
    "typed_hours",
    "Hours whose calls are those of their last typed pages, and no other fetch has changed or moved any. If the same "
    "pages come again, they need not be typed. One row per hour.",
    (
        PARTITION_HOUR,
        Column(
            "typed_of", Kind.TEXT, Class.FINGERPRINT, "Hash of the pages, and of the rules by which they were typed."
        ),
    ),
)

KEPT_FROM = Table(
    "raw",
    "kept_from",
    "From which hours on calls and figures are kept; earlier ones were deleted (CDR_CALLS_DAYS, CDR_MARTS_DAYS), and "
    "are not loaded again. One row, or none if nothing was deleted.",
    (
        Column("calls_from", Kind.LOCAL, Class.DATE, "First hour whose calls are kept; NULL if all are."),
        Column("marts_from", Kind.LOCAL, Class.DATE, "First hour whose figures are kept; NULL if all are."),
    ),
)

UNPUBLISHED_HOURS = Table(
    "cdr",
    "unpublished_hours",
    "Hours of the large tables, and whole tables, that differ from the published copy; emptied when the copy is "
    "published. One row per table and hour.",
    (
        Column(
            "table_name",
            Kind.TEXT,
            Class.NAME,
            "A large mart; 'calls' for the calls and their child tables; 'marts' for the small marts.",
        ),
        Column("hour", Kind.LOCAL, Class.DATE, "The partition_hour of the rows; NULL for the whole table."),
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
        Column("inode", Kind.COUNT, Class.IDENTIFIER, "Inode number of the file."),
        Column("size", Kind.COUNT, Class.MEASURE, "Size of the file in bytes."),
        Column("modified", Kind.COUNT, Class.MEASURE, "When the file was written, in nanoseconds since 1970."),
        Column(
            "made_of",
            Kind.TEXT,
            Class.IDENTIFIER,
            "Hash of its columns, of how phone numbers are shown, and of the secret key.",
        ),
        Column(
            "compared_until",
            Kind.LOCAL,
            Class.DATE,
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
    ERASURES,
    RESTATEMENTS,
    UNKNOWN_FIELDS,
    HOURS_WITHOUT_PAGES,
    HOURS_TO_RETYPE,
    TYPED_HOURS,
    KEPT_FROM,
    FIGURES_BEFORE,
    STALE_HOURS,
    BUILT_MARTS,
    UNPUBLISHED_HOURS,
    NEWLY_PUBLISHED_HOURS,
    PUBLISHED_COPY,
)
