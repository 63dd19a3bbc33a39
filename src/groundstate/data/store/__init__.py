"""Records on disk: memory-mapped shards with checksums, read in any order at constant memory."""

from groundstate.data.store.manifest import (
    Manifest,
    SourceEntry,
    digest_of,
    is_store,
    owned_store,
    read_manifest,
    shard_name,
)
from groundstate.data.store.shard import ShardEntry, sha256_of
from groundstate.data.store.statistics import Spread, Statistics
from groundstate.data.store.store import Store, open_store
from groundstate.data.store.writing import ShardWriter

__all__ = [
    "Manifest",
    "ShardEntry",
    "ShardWriter",
    "SourceEntry",
    "Spread",
    "Statistics",
    "Store",
    "digest_of",
    "is_store",
    "open_store",
    "owned_store",
    "read_manifest",
    "sha256_of",
    "shard_name",
]
