"""All imports from Dagster's private modules, each with its reason. No other module may import from them.

A minor version of Dagster may move any of these names. `TESTED` lists the versions on which this project's tests ran.
On any other version `home` leaves out our event log, because it depends on private code more than anything else here.
"""

# Starts the code servers that the UI and the daemon share, see `ui`. `dagster dev` does the same, and cannot be given a
# guard.
from dagster._cli.proxy_server_manager import ProxyServerManager

# The tag that gives a materialization its data version. `DataVersion` is public, but events that are reported in
# batches can carry a version only in this tag.
from dagster._core.definitions.data_version import DATA_VERSION_TAG

# Marks a result for which Dagster must add no materialization, see `steps.ended`.
from dagster._core.definitions.source_asset import SYSTEM_METADATA_KEY_SOURCE_ASSET_OBSERVATION

# The type that `define_asset_job` returns. It has no public name, and only annotations need it.
from dagster._core.definitions.unresolved_asset_job_definition import UnresolvedAssetJobDefinition

# Stores many events in one transaction, see `steps.report_hours`.
from dagster._core.events import ASSET_EVENTS, DagsterEventBatchMetadata

# The tables and base class of our event log, see `event_log`.
from dagster._core.storage.asset_check_execution_record import AssetCheckExecutionRecordStatus
from dagster._core.storage.event_log import SqlEventLogStorageTable, SqliteEventLogStorage
from dagster._core.storage.event_log.schema import AssetCheckExecutionsTable, AssetEventTagsTable, AssetKeyTable
from dagster._core.storage.event_log.sqlite.sqlite_event_log import INDEX_SHARD_NAME

# The tags that name the partitions of a run, which backfills in the UI set, and so must our runs over a range; and the
# tag of runs that a code server started, see `dead_runs`.
from dagster._core.storage.tags import (
    ASSET_PARTITION_RANGE_END_TAG,
    ASSET_PARTITION_RANGE_START_TAG,
    GRPC_INFO_TAG,
    PARTITION_NAME_TAG,
)

# What Dagster's web server serves: the code locations of a workspace.yaml, see `ui`.
from dagster._core.workspace.context import WorkspaceProcessContext
from dagster._core.workspace.load_target import WorkspaceFileTarget
from dagster._serdes import ConfigurableClassData, serialize_value

# Dagster's processes print their logs in this form.
from dagster._utils.log import configure_loggers

__all__ = [
    "ASSET_EVENTS",
    "ASSET_PARTITION_RANGE_END_TAG",
    "ASSET_PARTITION_RANGE_START_TAG",
    "DAEMON_MODULE",
    "DATA_VERSION_TAG",
    "GRPC_INFO_TAG",
    "INDEX_SHARD_NAME",
    "PARTITION_NAME_TAG",
    "SYSTEM_METADATA_KEY_SOURCE_ASSET_OBSERVATION",
    "TESTED",
    "AssetCheckExecutionRecordStatus",
    "AssetCheckExecutionsTable",
    "AssetEventTagsTable",
    "AssetKeyTable",
    "ConfigurableClassData",
    "DagsterEventBatchMetadata",
    "ProxyServerManager",
    "SqlEventLogStorageTable",
    "SqliteEventLogStorage",
    "UnresolvedAssetJobDefinition",
    "WorkspaceFileTarget",
    "WorkspaceProcessContext",
    "configure_loggers",
    "serialize_value",
]

# What the script `dagster-daemon` runs. The script itself may be in another folder than this Python.
DAEMON_MODULE = "dagster._daemon"

TESTED = ("1.13.27", "1.13.28")
