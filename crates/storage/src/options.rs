//! The settings that both databases share.

use rocksdb::{BlockBasedOptions, Cache, DBCompressionType, LogLevel, Options};

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
