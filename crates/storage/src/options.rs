//! The settings of the database.

use std::path::Path;

use rocksdb::{BlockBasedOptions, Cache, DB, DBCompressionType, LogLevel, Options};

use crate::{StorageError, files};

/// Settings of a database that stores sealed bytes and never serves damaged ones.
pub(crate) fn common() -> Options {
    let mut options = Options::default();
    options.create_if_missing(true);
    options.set_paranoid_checks(true);
    // The values are ciphertext.
    options.set_compression_type(DBCompressionType::None);
    options.set_max_background_jobs(2);
    options.set_keep_log_file_num(2);
    options.set_max_log_file_size(INFO_LOG_BYTES);
    options.set_log_level(LogLevel::Warn);
    options.set_stats_dump_period_sec(0);
    options
}

/// The same settings for a database that is only read, and must be there.
pub(crate) fn reading(mut options: Options) -> Options {
    options.create_if_missing(false);
    options
}

/// Opens a database, or makes one where there is none.
pub(crate) fn open(options: &Options, path: &Path) -> Result<DB, StorageError> {
    exists(path)?;
    DB::open(options, path).map_err(StorageError::database("open", path))
}

/// Opens a database and changes nothing in it; none if there is none.
pub(crate) fn open_read_only(options: &Options, path: &Path) -> Result<Option<DB>, StorageError> {
    if !exists(path)? {
        return Ok(None);
    }
    DB::open_for_read_only(options, path, false)
        .map(Some)
        .map_err(StorageError::database("open", path))
}

/// Whether there is a database. One whose file `CURRENT` is gone is damaged: RocksDB would make a new one over it and delete what it does not know.
fn exists(path: &Path) -> Result<bool, StorageError> {
    let current = path.join("CURRENT");
    if current.exists() || !path.exists() {
        return Ok(current.exists());
    }
    let holds_data = |name: &String| name.ends_with(".sst") || name.ends_with(".log");
    if files::names(path)?.iter().any(holds_data) {
        return Err(StorageError::damaged(&current, "it is missing"));
    }
    Ok(false)
}

/// Where blocks are cached, and how they are indexed.
pub(crate) fn tables(cache_bytes: usize) -> BlockBasedOptions {
    let mut tables = BlockBasedOptions::default();
    tables.set_block_cache(&Cache::new_lru_cache(cache_bytes));
    tables.set_bloom_filter(BLOOM_BITS_PER_KEY, false);
    tables
}

/// RocksDB's own text log, of which two are kept: enough to see what it complained about.
const INFO_LOG_BYTES: usize = 4 << 20;
/// One false read of a block in a hundred lookups.
const BLOOM_BITS_PER_KEY: f64 = 10.0;
