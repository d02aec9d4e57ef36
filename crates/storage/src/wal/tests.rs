//! Order, durability, what a crash leaves, and what is refused when the log is opened.

mod damage;
mod model;

use std::fs;
use std::sync::mpsc::channel;
use std::time::Instant;

use super::segment::SPARE;
use super::*;
use crate::testing::wait;

/// Segments so small that everything comes by often.
const SMALL: Sizes = Sizes {
    first: 16 << 10,
    segment: 16 << 10,
    cache: 2 << 10,
};

fn entries(indexes: Range<u64>) -> Vec<(u64, Bytes)> {
    indexes
        .map(|index| (index, Bytes::from(format!("entry {index}"))))
        .collect()
}

/// So large that some fill a segment.
fn large(indexes: Range<u64>) -> Vec<(u64, Bytes)> {
    indexes
        .map(|index| (index, Bytes::from(vec![index as u8; 3000])))
        .collect()
}

/// Appends, and waits until it is durable.
fn append(log: &Wal, entries: Vec<(u64, Bytes)>) {
    wait(|done| log.append(entries, done));
}

/// Waits until all earlier calls are durable.
fn settle(log: &Wal) {
    wait(|done| log.sync(done));
}

fn bounds(log: &Wal) -> Option<(u64, u64)> {
    Some((log.first_index()?, log.last_index()?))
}

fn mark(dir: &Path) -> Mark {
    Floor::open(&floor_in(dir)).unwrap().unwrap().mark()
}

/// The error of opening.
fn refused(dir: &Path) -> StorageError {
    Wal::open(dir).map(drop).unwrap_err()
}

fn files_with(dir: &Path, ending: &str) -> Vec<PathBuf> {
    let names = files::names(&segments_in(dir)).unwrap();
    let found = names.iter().filter(|name| name.ends_with(ending));
    found.map(|name| segments_in(dir).join(name)).collect()
}

fn segments(dir: &Path) -> Vec<PathBuf> {
    files_with(dir, ".seg")
}

/// A copy as a crash would leave it, with a floor that has not caught up.
fn crashed(dir: &Path) -> tempfile::TempDir {
    let copy = tempfile::tempdir().unwrap();
    fs::create_dir(segments_in(copy.path())).unwrap();
    Floor::create(&floor_in(copy.path())).unwrap();
    for entry in fs::read_dir(segments_in(dir)).unwrap() {
        let entry = entry.unwrap();
        fs::copy(entry.path(), segments_in(copy.path()).join(entry.file_name())).unwrap();
    }
    copy
}

#[test]
fn a_reopened_log_has_everything() {
    let dir = tempfile::tempdir().unwrap();
    let log = Wal::open(dir.path()).unwrap();
    assert_eq!((bounds(&log), log.meta(Meta::Vote)), (None, None));
    append(&log, entries(0..10));
    log.put_meta(Meta::Vote, Bytes::from_static(b"me"), None);
    log.truncate_from(8);
    log.purge_to(2, Bytes::from_static(b"purged"));
    append(&log, entries(8..9));
    check(&log);
    drop(log);
    check(&Wal::open(dir.path()).unwrap());

    fn check(log: &Wal) {
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
    let log = Wal::open_with(dir.path(), Sizes { cache: 0, ..SMALL }).unwrap();
    append(&log, entries(0..4));
    // The callback of the first holds up the writer, so the second stays in memory.
    let (release, held) = channel::<()>();
    log.append(entries(4..5), Box::new(move |_| held.recv().unwrap()));
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
        assert_eq!(
            log.read(range.clone(), max_bytes),
            entries(expected),
            "{range:?} {max_bytes}"
        );
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
    let log = Wal::open(dir.path()).unwrap();
    let (sender, receiver) = channel();
    let (release, held) = channel::<()>();
    log.put_meta(Meta::Vote, Bytes::new(), Some(Box::new(move |_| held.recv().unwrap())));
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
fn an_append_costs_one_fsync_and_a_hint_none() {
    const APPENDS: u64 = 50;
    let dir = tempfile::tempdir().unwrap();
    let log = Wal::open(dir.path()).unwrap();
    append(&log, entries(0..1));
    let (before, begun) = (log.fsyncs(), Instant::now());
    for index in 1..=APPENDS {
        log.put_meta(Meta::Committed, Bytes::from(index.to_string()), None);
        append(&log, entries(index..index + 1));
        settle(&log);
    }
    let fsyncs = log.fsyncs() - before;
    let raises = begun.elapsed().as_secs() + 1;
    assert!(
        (APPENDS..=APPENDS + raises).contains(&fsyncs),
        "{fsyncs} fsyncs for {APPENDS} appends"
    );
    log.put_meta(Meta::Committed, Bytes::from_static(b"last"), None);
    drop(log);
    let log = Wal::open(dir.path()).unwrap();
    assert_eq!(
        log.meta(Meta::Committed).unwrap(),
        "last",
        "a log that is closed loses no hint"
    );
}

#[test]
fn dropping_writes_what_is_queued() {
    let dir = tempfile::tempdir().unwrap();
    let log = Wal::open(dir.path()).unwrap();
    for index in 0..100 {
        log.append(entries(index..index + 1), Box::new(|_| {}));
    }
    drop(log);
    assert_eq!(mark(dir.path()).end, 100);
    assert_eq!(bounds(&Wal::open(dir.path()).unwrap()), Some((0, 99)));
}

#[test]
fn a_hole_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let log = Wal::open(dir.path()).unwrap();
    append(&log, entries(5..7));
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
    append(&log, entries(7..8));
    assert_eq!(bounds(&log), Some((5, 7)));
}

#[test]
fn a_purge_beyond_the_end_sets_the_next_index() {
    let dir = tempfile::tempdir().unwrap();
    let log = Wal::open(dir.path()).unwrap();
    append(&log, entries(0..5));
    log.purge_to(20, Bytes::from_static(b"m"));
    log.purge_to(10, Bytes::from_static(b"older"));
    assert_eq!((bounds(&log), log.bytes()), (None, 0));
    append(&log, entries(21..23));
    drop(log);
    let log = Wal::open(dir.path()).unwrap();
    assert_eq!(
        (bounds(&log), log.meta(Meta::Purged).unwrap()),
        (Some((21, 22)), Bytes::from_static(b"m"))
    );
    log.truncate_from(21);
    settle(&log);
    assert_eq!(mark(dir.path()).end, 21);
    drop(log);
    assert_eq!(bounds(&Wal::open(dir.path()).unwrap()), None);
}

#[test]
fn a_truncation_lowers_the_floor_first() {
    let dir = tempfile::tempdir().unwrap();
    append(&Wal::open(dir.path()).unwrap(), entries(0..10));
    let expected = |end, truncations| Mark {
        end,
        truncations,
        votes: 0,
    };
    assert_eq!(mark(dir.path()), expected(10, 0));
    let log = Wal::open(dir.path()).unwrap();
    log.truncate_from(4);
    settle(&log);
    assert_eq!(mark(dir.path()), expected(4, 1));
    log.truncate_from(7);
    settle(&log);
    assert_eq!(mark(dir.path()).truncations, 1, "nothing was there to remove");
    drop(log);
    assert_eq!(bounds(&Wal::open(dir.path()).unwrap()), Some((0, 3)));
}

#[test]
fn purged_segments_are_used_again() {
    let dir = tempfile::tempdir().unwrap();
    let log = Wal::open_with(dir.path(), SMALL).unwrap();
    let mut most = 0;
    for index in 0..200 {
        append(&log, large(index..index + 1));
        if index % 20 == 19 {
            log.purge_to(index - 3, Bytes::from(index.to_string()));
        }
        most = most.max(segments(dir.path()).len() + files_with(dir.path(), SPARE).len());
    }
    assert!(most < 12, "{most} files for 20 entries, four in each");
    assert_eq!(log.read(0..u64::MAX, usize::MAX), large(197..200));
    let reader = log.read(197..198, 0);
    drop(log);
    assert!(segments(dir.path()).len() <= 4);
    assert!(files_with(dir.path(), SPARE).len() <= 3);
    let log = Wal::open_with(dir.path(), SMALL).unwrap();
    assert_eq!(log.read(0..u64::MAX, usize::MAX), large(197..200));
    assert_eq!(
        (reader, log.meta(Meta::Purged).unwrap()),
        (large(197..198), Bytes::from_static(b"199"))
    );
}

/// Readers that begin before a purge find what they look for, also while the files are used again.
#[test]
fn a_reader_keeps_what_it_reads() {
    let dir = tempfile::tempdir().unwrap();
    let log = Wal::open_with(dir.path(), Sizes { cache: 0, ..SMALL }).unwrap();
    std::thread::scope(|scope| {
        let reader = scope.spawn(|| {
            let mut read = 0;
            while log.last_index() < Some(299) {
                for (index, bytes) in log.read(0..u64::MAX, usize::MAX) {
                    assert!(bytes.iter().all(|byte| *byte == index as u8));
                    read += 1;
                }
            }
            read
        });
        for index in 0..300 {
            append(&log, large(index..index + 1));
            log.purge_to(index.saturating_sub(4), Bytes::new());
        }
        assert!(reader.join().unwrap() > 0);
    });
}

#[test]
fn an_entry_may_be_larger_than_a_segment() {
    let dir = tempfile::tempdir().unwrap();
    let log = Wal::open_with(dir.path(), SMALL).unwrap();
    let entry = |index: u64, size: usize| vec![(index, Bytes::from(vec![index as u8; size]))];
    let all: Vec<_> = [100_000, 5, 200_000, 9000, 9000, 50_000]
        .into_iter()
        .enumerate()
        .flat_map(|(index, size)| entry(index as u64, size))
        .collect();
    for one in &all {
        append(&log, vec![one.clone()]);
    }
    assert_eq!(log.read(0..10, usize::MAX), all);
    drop(log);
    let log = Wal::open_with(dir.path(), SMALL).unwrap();
    assert_eq!(log.read(0..10, usize::MAX), all);
    log.purge_to(4, Bytes::new());
    append(&log, entry(6, 20_000));
    drop(log);
    let log = Wal::open_with(dir.path(), SMALL).unwrap();
    assert_eq!(bounds(&log), Some((5, 6)));
}

/// A disk that has no room for the next segment does not stop a node whose present one has room.
#[test]
fn a_segment_that_cannot_be_made_is_not_missed_before_it_is_needed() {
    let dir = tempfile::tempdir().unwrap();
    let log = Wal::open_with(dir.path(), SMALL).unwrap();
    // Where segments are made there is a file: nothing can be made.
    let (path, away) = (segments_in(dir.path()), dir.path().join("away"));
    fs::rename(&path, &away).unwrap();
    fs::write(&path, "").unwrap();
    append(&log, large(0..3));
    append(&log, entries(3..4));
    append(&log, entries(4..5));
    fs::remove_file(&path).unwrap();
    fs::rename(&away, &path).unwrap();
    for index in 5..20 {
        append(&log, large(index..index + 1));
    }
    drop(log);
    assert_eq!(bounds(&Wal::open_with(dir.path(), SMALL).unwrap()), Some((0, 19)));
}

/// Whether any file of the log holds such an entry.
fn is_on_disk(dir: &Path, bytes: &[u8]) -> bool {
    let names = files::names(&segments_in(dir)).unwrap();
    names.iter().any(|name| {
        let content = fs::read(segments_in(dir).join(name)).unwrap_or_default();
        content.windows(bytes.len()).any(|part| part == bytes)
    })
}

/// What was purged is in no file after a renewal: not in one that is used again, not in one that was kept for it, not in one made ready.
#[test]
fn what_was_purged_before_a_renewal_is_gone() {
    // How many entries come before the one that is looked for, and after it: it lies in the present segment, or in one that was used again.
    for (before, after) in [(0, 0), (3, 2), (20, 7), (20, 40)] {
        let dir = tempfile::tempdir().unwrap();
        let log = Wal::open_with(dir.path(), SMALL).unwrap();
        append(&log, large(1..before + 1));
        let at = before + 1;
        append(&log, vec![(at, Bytes::from_static(b"what is looked for"))]);
        append(&log, large(at + 1..at + 1 + after));
        let last = at + after;
        let is_there = || is_on_disk(dir.path(), b"what is looked for");
        assert!(is_there());
        // Most of it is purged already, and its files wait to be used again.
        log.purge_to(last - 1, Bytes::from_static(b"purged"));
        settle(&log);
        log.preparer.settle();
        log.renew();
        append(&log, entries(last + 1..last + 4));
        assert!(!log.is_renewed(), "the last one before is not purged");
        log.purge_to(last, Bytes::from_static(b"purged"));
        settle(&log);
        log.preparer.settle();
        assert!(log.is_renewed(), "{before} before and {after} after");
        assert!(!is_there(), "{before} before and {after} after");
        drop(log);
        let log = Wal::open_with(dir.path(), SMALL).unwrap();
        assert_eq!(bounds(&log), Some((last + 1, last + 3)));
        // And it goes on as before, with files that are used again.
        append(&log, large(last + 4..last + 40));
        log.purge_to(last + 30, Bytes::from_static(b"purged"));
        settle(&log);
        log.preparer.settle();
        assert!(!files_with(dir.path(), SPARE).is_empty());
        assert!(log.is_renewed(), "nobody asked since it was opened");
    }
}

/// A log in which everything was purged before is renewed at once; so is one that is asked twice, or that is new. What stands beside the entries stays.
#[test]
fn a_renewal_frees_what_was_purged_before_it() {
    let dir = tempfile::tempdir().unwrap();
    let log = Wal::open_with(dir.path(), SMALL).unwrap();
    log.renew();
    wait(|done| log.put_meta(Meta::Vote, Bytes::from_static(b"vote"), Some(done)));
    append(&log, vec![(1, Bytes::from_static(b"what is looked for"))]);
    log.purge_to(1, Bytes::from_static(b"purged"));
    settle(&log);
    for renewals in 1..4 {
        (0..renewals).for_each(|_| log.renew());
        settle(&log);
        log.preparer.settle();
        assert!(log.is_renewed() && !is_on_disk(dir.path(), b"what is looked for"));
        assert_eq!(files_with(dir.path(), ".seg").len(), 1, "the present one is left");
    }
    drop(log);
    let log = Wal::open_with(dir.path(), SMALL).unwrap();
    assert_eq!(log.meta(Meta::Vote).as_deref(), Some(&b"vote"[..]));
    assert_eq!(log.meta(Meta::Purged).as_deref(), Some(&b"purged"[..]));
    append(&log, entries(2..5));
    assert_eq!(bounds(&log), Some((2, 4)));
}
