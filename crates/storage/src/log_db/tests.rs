//! Order, durability, and what is refused when the log is opened.

use std::fs;
use std::path::PathBuf;
use std::sync::mpsc::channel;

use rocksdb::{WriteBatch, WriteOptions};

use super::*;
use crate::floor::Mark;

fn entries(indexes: Range<u64>) -> Vec<(u64, Bytes)> {
    indexes
        .map(|index| (index, Bytes::from(format!("entry {index}"))))
        .collect()
}

/// Appends, and waits until it is durable.
fn append(log: &LogDb, indexes: Range<u64>) {
    let (sender, receiver) = channel();
    log.append(entries(indexes), Box::new(move |done| sender.send(done).unwrap()));
    receiver.recv().unwrap().unwrap();
}

/// Waits until all earlier calls are durable.
fn settle(log: &LogDb) {
    let (sender, receiver) = channel();
    let done: Done = Box::new(move |done| sender.send(done).unwrap());
    log.put_meta(Meta::Committed, Bytes::new(), Some(done));
    receiver.recv().unwrap().unwrap();
}

fn bounds(log: &LogDb) -> Option<(u64, u64)> {
    Some((log.first_index()?, log.last_index()?))
}

fn mark(dir: &Path) -> Mark {
    Floor::open(&dir.join("floor")).unwrap().unwrap().mark()
}

/// Changes the closed database behind the log's back.
fn tamper(dir: &Path, change: impl FnOnce(&mut WriteBatch)) {
    let db = open_database(&dir.join("db")).unwrap();
    let mut batch = WriteBatch::default();
    change(&mut batch);
    let mut options = WriteOptions::default();
    options.set_sync(true);
    db.write_opt(batch, &options).unwrap();
}

/// The error of opening.
fn refused(dir: &Path) -> StorageError {
    LogDb::open(dir).map(drop).unwrap_err()
}

/// The newest write-ahead log.
fn wal(dir: &Path) -> PathBuf {
    let wals = fs::read_dir(dir.join("db")).unwrap().map(|entry| entry.unwrap().path());
    wals.filter(|path| path.extension().is_some_and(|extension| extension == "log"))
        .max()
        .unwrap()
}

#[test]
fn a_reopened_log_has_everything() {
    let dir = tempfile::tempdir().unwrap();
    let log = LogDb::open(dir.path()).unwrap();
    assert_eq!((bounds(&log), log.meta(Meta::Vote)), (None, None));
    append(&log, 0..10);
    log.put_meta(Meta::Vote, Bytes::from_static(b"me"), None);
    log.truncate_from(8);
    log.purge_to(2, Bytes::from_static(b"purged"));
    append(&log, 8..9);
    check(&log);
    drop(log);
    check(&LogDb::open(dir.path()).unwrap());

    fn check(log: &LogDb) {
        assert_eq!(bounds(log), Some((3, 8)));
        assert_eq!(log.read(0..100, usize::MAX), entries(3..9));
        assert_eq!(log.read(5..7, usize::MAX), entries(5..7));
        assert_eq!(log.bytes(), 6 * 7);
        assert_eq!(log.meta(Meta::Vote).unwrap(), "me");
        assert_eq!(log.meta(Meta::Purged).unwrap(), "purged");
    }
}

#[test]
fn entries_are_read_at_once_and_up_to_a_size() {
    let dir = tempfile::tempdir().unwrap();
    let log = LogDb::open(dir.path()).unwrap();
    append(&log, 0..4);
    // The callback of the first holds up the writer, so the second stays in memory.
    let (release, wait) = channel::<()>();
    log.append(entries(4..5), Box::new(move |_| wait.recv().unwrap()));
    log.append(entries(5..8), Box::new(|_| {}));
    assert_eq!(log.read(0..8, usize::MAX), entries(0..8));
    for (range, max_bytes, expected) in [
        (0..8, 0, 0..1),
        (2..8, 7, 2..3),
        (2..8, 20, 2..4),
        (3..8, 21, 3..6),
        (6..8, 0, 6..7),
        (8..9, 100, 8..8),
    ] {
        let read = log.read(range.clone(), max_bytes);
        let least = expected.end.min(range.end);
        assert!(read.len() as u64 >= least - expected.start, "{range:?} {max_bytes}");
        assert_eq!(read, entries(expected.start..expected.start + read.len() as u64));
        assert!(read.len() <= 1 + max_bytes / 7, "{range:?} {max_bytes}");
    }
    log.truncate_from(6);
    log.append(vec![(6, Bytes::from_static(b"other"))], Box::new(|_| {}));
    assert_eq!(log.read(6..9, usize::MAX), [(6, Bytes::from_static(b"other"))]);
    release.send(()).unwrap();
    settle(&log);
    assert_eq!(log.read(6..9, usize::MAX), [(6, Bytes::from_static(b"other"))]);
    assert_eq!(log.read(0..6, usize::MAX), entries(0..6));
}

#[test]
fn callbacks_come_once_in_order_and_share_fsyncs() {
    const APPENDS: u64 = 500;
    let dir = tempfile::tempdir().unwrap();
    let log = LogDb::open(dir.path()).unwrap();
    let (sender, receiver) = channel();
    let (release, wait) = channel::<()>();
    log.put_meta(Meta::Vote, Bytes::new(), Some(Box::new(move |_| wait.recv().unwrap())));
    for index in 0..APPENDS {
        let sender = sender.clone();
        let done: Done = Box::new(move |done| sender.send((index, done.is_ok())).unwrap());
        if index % 10 == 0 {
            log.put_meta(Meta::Vote, Bytes::from_static(b"v"), Some(done));
            log.append(entries(index..index + 1), Box::new(|_| {}));
        } else {
            log.append(entries(index..index + 1), done);
        }
    }
    drop(sender);
    release.send(()).unwrap();
    let called: Vec<_> = receiver.into_iter().collect();
    assert_eq!(called, (0..APPENDS).map(|index| (index, true)).collect::<Vec<_>>());
    assert!(log.fsyncs() < APPENDS / 10, "{} fsyncs", log.fsyncs());
}

#[test]
fn dropping_writes_what_is_queued() {
    let dir = tempfile::tempdir().unwrap();
    let log = LogDb::open(dir.path()).unwrap();
    for index in 0..100 {
        log.append(entries(index..index + 1), Box::new(|_| {}));
    }
    drop(log);
    assert_eq!(mark(dir.path()).end, 100);
    assert_eq!(bounds(&LogDb::open(dir.path()).unwrap()), Some((0, 99)));
}

#[test]
fn a_hole_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let log = LogDb::open(dir.path()).unwrap();
    append(&log, 5..7);
    for wrong in [
        vec![(8, Bytes::new())],
        vec![(6, Bytes::new())],
        vec![(7, Bytes::new()), (9, Bytes::new())],
    ] {
        let (sender, receiver) = channel();
        let call = || log.append(wrong, Box::new(move |done| sender.send(done.is_err()).unwrap()));
        let panicked = std::panic::catch_unwind(std::panic::AssertUnwindSafe(call)).is_err();
        assert_eq!(panicked, cfg!(debug_assertions));
        assert!(receiver.recv().unwrap());
    }
    append(&log, 7..8);
    assert_eq!(bounds(&log), Some((5, 7)));
}

#[test]
fn a_purge_beyond_the_end_sets_the_next_index() {
    let dir = tempfile::tempdir().unwrap();
    let log = LogDb::open(dir.path()).unwrap();
    append(&log, 0..5);
    log.purge_to(20, Bytes::from_static(b"m"));
    log.purge_to(10, Bytes::from_static(b"older"));
    assert_eq!((bounds(&log), log.bytes()), (None, 0));
    append(&log, 21..23);
    drop(log);
    let log = LogDb::open(dir.path()).unwrap();
    assert_eq!(
        (bounds(&log), log.meta(Meta::Purged).unwrap()),
        (Some((21, 22)), Bytes::from_static(b"m"))
    );
    log.truncate_from(21);
    settle(&log);
    assert_eq!(mark(dir.path()).end, 21);
    drop(log);
    assert_eq!(bounds(&LogDb::open(dir.path()).unwrap()), None);
}

#[test]
fn a_log_that_lost_its_end_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    append(&LogDb::open(dir.path()).unwrap(), 0..10);
    tamper(dir.path(), |batch| batch.delete(entry_key(9)));
    let error = refused(dir.path());
    assert!(
        matches!(
            error,
            StorageError::Amnesia {
                end: 9,
                acknowledged: 10,
                ..
            }
        ),
        "{error}"
    );

    fs::remove_dir_all(dir.path().join("db")).unwrap();
    assert!(matches!(refused(dir.path()), StorageError::Amnesia { end: 0, .. }));

    let dir = tempfile::tempdir().unwrap();
    append(&LogDb::open(dir.path()).unwrap(), 0..10);
    fs::remove_file(dir.path().join("floor")).unwrap();
    assert!(matches!(refused(dir.path()), StorageError::Damaged { .. }));
}

#[test]
fn a_truncation_lowers_the_floor_first() {
    let dir = tempfile::tempdir().unwrap();
    append(&LogDb::open(dir.path()).unwrap(), 0..10);
    assert_eq!(
        mark(dir.path()),
        Mark {
            end: 10,
            ..Mark::default()
        }
    );
    let log = LogDb::open(dir.path()).unwrap();
    log.truncate_from(4);
    settle(&log);
    assert_eq!(
        mark(dir.path()),
        Mark {
            end: 4,
            truncations: 1,
            votes: 0
        }
    );
    log.truncate_from(7);
    settle(&log);
    assert_eq!(mark(dir.path()).truncations, 1, "nothing was there to remove");
    drop(log);
    assert_eq!(bounds(&LogDb::open(dir.path()).unwrap()), Some((0, 3)));
}

#[test]
fn a_hole_on_the_disk_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    append(&LogDb::open(dir.path()).unwrap(), 0..10);
    tamper(dir.path(), |batch| batch.delete(entry_key(5)));
    assert!(matches!(refused(dir.path()), StorageError::Damaged { .. }));

    let dir = tempfile::tempdir().unwrap();
    append(&LogDb::open(dir.path()).unwrap(), 0..2);
    tamper(dir.path(), |batch| {
        batch.put(meta_key(Meta::Vote), b"without a checksum")
    });
    assert!(matches!(refused(dir.path()), StorageError::Damaged { .. }));
}

/// Copies the log as it stands on the disk, as a crash would leave it, with a floor that has not caught up.
fn crashed(dir: &Path) -> tempfile::TempDir {
    let copy = tempfile::tempdir().unwrap();
    fs::create_dir(copy.path().join("db")).unwrap();
    Floor::create(&copy.path().join("floor")).unwrap();
    for entry in fs::read_dir(dir.join("db")).unwrap() {
        let entry = entry.unwrap();
        fs::copy(entry.path(), copy.path().join("db").join(entry.file_name())).unwrap();
    }
    copy
}

#[test]
fn a_torn_end_is_dropped_and_a_damaged_middle_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let log = LogDb::open(dir.path()).unwrap();
    let entry = |index: u64| vec![(index, Bytes::from(vec![index as u8; 10_000]))];
    for index in 0..20 {
        log.append(entry(index), Box::new(|_| {}));
        settle(&log);
    }

    let copy = crashed(dir.path());
    assert_eq!(
        bounds(&LogDb::open(copy.path()).unwrap()),
        Some((0, 19)),
        "what was synced is there"
    );

    let copy = crashed(dir.path());
    let path = wal(copy.path());
    let bytes = fs::read(&path).unwrap();
    fs::write(&path, &bytes[..bytes.len() - 5000]).unwrap();
    assert_eq!(bounds(&LogDb::open(copy.path()).unwrap()), Some((0, 18)));

    let copy = crashed(dir.path());
    let path = wal(copy.path());
    let mut damaged = bytes.clone();
    damaged[bytes.len() / 2] ^= 1;
    fs::write(&path, damaged).unwrap();
    let error = refused(copy.path());
    assert!(matches!(error, StorageError::Database { .. }), "{error}");
}
