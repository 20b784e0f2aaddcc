"""What Dagster has and does not offer to others: every import of a private module stands here, each with its reason.

A minor version of Dagster may move any of them. `TESTED` are the versions on which the tests of this project ran; on
another one `home` leaves our event log out, which leans on Dagster's insides more than all the rest together.
"""

# Types of what `define_asset_job` returns: annotations alone, there is no public name.
# The tag of a materialization that carries a data version; `DataVersion` is public, the tag is not, and events that are
# reported in batches have no other way to carry it.
from dagster._core.definitions.data_version import DATA_VERSION_TAG

# Marks a result that reports nothing by itself, see `steps.ended`.
from dagster._core.definitions.source_asset import SYSTEM_METADATA_KEY_SOURCE_ASSET_OBSERVATION
from dagster._core.definitions.unresolved_asset_job_definition import UnresolvedAssetJobDefinition

# Stores many events in one transaction, see `steps.report`.
from dagster._core.events import ASSET_EVENTS, DagsterEventBatchMetadata

# The tables and base class of our event log, see `event_log`.
from dagster._core.storage.asset_check_execution_record import AssetCheckExecutionRecordStatus
from dagster._core.storage.event_log import SqlEventLogStorageTable, SqliteEventLogStorage
from dagster._core.storage.event_log.schema import AssetCheckExecutionsTable, AssetKeyTable

# The tags that say which partitions a run is for; the UI's backfills set them, and runs over a range need them.
from dagster._core.storage.tags import (
    ASSET_PARTITION_RANGE_END_TAG,
    ASSET_PARTITION_RANGE_START_TAG,
    PARTITION_NAME_TAG,
)
from dagster._serdes import ConfigurableClassData, serialize_value

__all__ = [
    "ASSET_EVENTS",
    "ASSET_PARTITION_RANGE_END_TAG",
    "ASSET_PARTITION_RANGE_START_TAG",
    "DATA_VERSION_TAG",
    "PARTITION_NAME_TAG",
    "SYSTEM_METADATA_KEY_SOURCE_ASSET_OBSERVATION",
    "TESTED",
    "AssetCheckExecutionRecordStatus",
    "AssetCheckExecutionsTable",
    "AssetKeyTable",
    "ConfigurableClassData",
    "DagsterEventBatchMetadata",
    "SqlEventLogStorageTable",
    "SqliteEventLogStorage",
    "UnresolvedAssetJobDefinition",
    "serialize_value",
]

TESTED = ("1.13.27", "1.13.28", "1.13.29")
