//! RocksDB state store, log store, audit segments, snapshot files.
