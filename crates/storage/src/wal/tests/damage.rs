//! Whatever is flipped, cut, swapped or missing: what opens is whole, and what does not open says where it is damaged.

use std::os::unix::fs::FileExt as _;

use super::*;

type Content = (Vec<(u64, Bytes)>, [Option<Bytes>; 3]);

fn content(log: &Wal) -> Content {
    let meta = [Meta::Vote, Meta::Committed, Meta::Purged].map(|key| log.meta(key));
    (log.read(0..u64::MAX, usize::MAX), meta)
}

fn open(dir: &Path) -> Result<Wal, StorageError> {
    Wal::open_with(dir, SMALL)
}

/// A log of several batches in two segments, and the contents that it had after each batch.
fn make(dir: &Path) -> Vec<Content> {
    let sizes = Sizes {
        first: 8 << 10,
        ..SMALL
    };
    let log = Wal::open_with(dir, sizes).unwrap();
    let mut contents = vec![content(&log)];
    let steps: [&dyn Fn(Done); 8] = [
        &|done| log.append(entries(0..20), done),
        &|done| log.put_meta(Meta::Vote, Bytes::from_static(b"first"), Some(done)),
        &|done| log.append(large(20..21), done),
        &|done| {
            log.purge_to(3, Bytes::from_static(b"three"));
            log.sync(done);
        },
        &|done| log.append(entries(21..30), done),
        &|done| {
            log.truncate_from(25);
            log.append(entries(25..27), done);
        },
        &|done| log.put_meta(Meta::Vote, Bytes::from_static(b"second"), Some(done)),
        &|done| log.append(entries(27..40), done),
    ];
    for step in steps {
        wait(step);
        contents.push(content(&log));
    }
    drop(log);
    assert_eq!(written(dir).len(), 2, "the log should have two segments");
    contents
}

/// Changes one byte in place.
fn poke(path: &Path, at: usize, byte: u8) {
    let file = fs::OpenOptions::new().write(true).open(path).unwrap();
    file.write_all_at(&[byte], at as u64).unwrap();
}

/// Where batches end in a segment.
fn used(path: &Path) -> usize {
    crate::testing::used(&fs::read(path).unwrap())
}

/// The segments that hold batches. One more may have been prepared.
fn written(dir: &Path) -> Vec<PathBuf> {
    let paths = segments(dir).into_iter();
    paths.filter(|path| used(path) > 4096).collect()
}

#[test]
fn a_flip_of_any_byte_is_refused_or_does_no_harm() {
    let dir = tempfile::tempdir().unwrap();
    let contents = make(dir.path());
    let whole = contents.last().unwrap();
    let (mut refused, mut torn) = (0, 0);
    for path in written(dir.path()) {
        let bytes = fs::read(&path).unwrap();
        for (at, byte) in bytes.iter().enumerate().take(used(&path)) {
            // What fills sectors is not looked at, and takes a good open each.
            if *byte == 0 && at % 16 != 0 {
                continue;
            }
            poke(&path, at, byte ^ 1 << (at % 8));
            let context = format!("{}, byte {at}", path.display());
            match open(dir.path()) {
                Ok(log) => assert_eq!(content(&log), *whole, "{context}"),
                Err(error) => {
                    refused += 1;
                    assert!(error.is_damage(), "{context}: {error}");
                    // What tells of the last batch is the floor; what is before it names its place.
                    match error {
                        StorageError::Damaged { path: named, what } => {
                            assert!(
                                named == path && what.contains("at byte"),
                                "{context}: {}, {what}",
                                named.display()
                            );
                        }
                        _ => torn += 1,
                    }
                }
            }
            poke(&path, at, bytes[at]);
        }
    }
    assert!(refused > 3000 && torn > 100, "{refused} refused, {torn} by the floor");
    assert_eq!(content(&open(dir.path()).unwrap()), *whole);
}

/// Without the floor, damage of the last batch looks like a torn write, and of any other it does not.
#[test]
fn a_flip_without_a_floor_costs_the_last_batch_at_most() {
    let dir = tempfile::tempdir().unwrap();
    let contents = make(dir.path());
    let [.., before, whole] = &contents[..] else { panic!() };
    for path in written(dir.path()) {
        for at in (0..used(&path)).step_by(41) {
            let copy = crashed(dir.path());
            let flipped = segments_in(copy.path()).join(path.file_name().unwrap());
            let mut bytes = fs::read(&flipped).unwrap();
            bytes[at] ^= 1 << (at % 8);
            fs::write(&flipped, bytes).unwrap();
            if let Ok(log) = open(copy.path()) {
                let content = content(&log);
                assert!(content == *whole || content == *before, "{}, byte {at}", path.display());
            }
        }
    }
}

/// Any beginning of the last batch may be on the disk. The rest of its sectors is what was there before.
#[test]
fn a_torn_end_is_dropped_at_any_length() {
    let dir = tempfile::tempdir().unwrap();
    let contents = make(dir.path());
    let [.., before, whole] = &contents[..] else { panic!() };
    let last = written(dir.path()).pop().unwrap();
    let end = used(&last);
    // The last batch has 13 entries and fits into one sector or two.
    let start = (end - 13 * 28).next_multiple_of(512) - 512;
    for length in (start..end).step_by(11) {
        let copy = crashed(dir.path());
        let path = segments_in(copy.path()).join(last.file_name().unwrap());
        let mut bytes = fs::read(&path).unwrap();
        bytes[length..].fill(0);
        fs::write(&path, bytes).unwrap();
        let log = open(copy.path()).unwrap();
        assert_eq!(content(&log), *before, "cut at {length} of {end}");
        // It goes on from there.
        append(&log, entries(27..29));
        drop(log);
        assert_eq!(bounds(&open(copy.path()).unwrap()), Some((4, 28)));
    }
    assert_eq!(content(&open(crashed(dir.path()).path()).unwrap()), *whole);
}

#[test]
fn a_file_that_was_cut_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    make(dir.path());
    for path in written(dir.path()) {
        let bytes = fs::read(&path).unwrap();
        for length in (0..bytes.len()).step_by(509).chain([bytes.len() - 1]) {
            fs::write(&path, &bytes[..length]).unwrap();
            let error = refused(dir.path());
            assert!(matches!(error, StorageError::Damaged { .. }), "{length}: {error}");
        }
        fs::write(&path, &bytes).unwrap();
    }
    open(dir.path()).unwrap();
}

#[test]
fn a_log_that_lost_its_end_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    make(dir.path());
    let last = written(dir.path()).pop().unwrap();
    let mut bytes = fs::read(&last).unwrap();
    let whole = bytes.clone();
    // The last two batches, of which one is a vote.
    let end = used(&last);
    bytes[(end - 13 * 28).next_multiple_of(512) - 1024..].fill(0);
    fs::write(&last, &bytes).unwrap();
    let error = refused(dir.path());
    assert!(
        matches!(
            error,
            StorageError::Amnesia {
                end: 27,
                acknowledged: 40,
                ..
            }
        ),
        "{error}"
    );
    let mut floor = Floor::open(&floor_in(dir.path())).unwrap().unwrap();
    floor.set(Mark { end: 5, ..floor.mark() });
    let error = refused(dir.path());
    assert!(
        matches!(
            error,
            StorageError::ForgottenVote {
                votes: 1,
                acknowledged: 2,
                ..
            }
        ),
        "{error}"
    );
    // The control: a floor that knows nothing.
    fs::remove_file(floor_in(dir.path())).unwrap();
    Floor::create(&floor_in(dir.path())).unwrap();
    assert_eq!(bounds(&open(dir.path()).unwrap()), Some((4, 26)));

    fs::write(&last, whole).unwrap();
    fs::remove_file(floor_in(dir.path())).unwrap();
    assert!(matches!(refused(dir.path()), StorageError::Damaged { .. }));
}

#[test]
fn missing_swapped_and_foreign_segments_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    let log = open(dir.path()).unwrap();
    for index in 0..18 {
        append(&log, large(index..index + 1));
    }
    drop(log);
    let paths = segments(dir.path());
    assert!(paths.len() >= 5);
    let holding = &paths[..5];
    for (n, path) in holding.iter().enumerate() {
        let bytes = fs::read(path).unwrap();
        fs::remove_file(path).unwrap();
        let error = refused(dir.path());
        assert!(error.is_damage(), "{n}: {error}");
        if n < 4 {
            assert!(error.to_string().contains(&*path.to_string_lossy()), "{n}: {error}");
        }
        fs::write(path, bytes).unwrap();
    }
    // Every checksum is right, and each is in another's place.
    for (one, two) in [(0, 1), (1, 3), (3, 4)] {
        let (one, two) = (&paths[one], &paths[two]);
        let bytes = (fs::read(one).unwrap(), fs::read(two).unwrap());
        fs::write(two, &bytes.0).unwrap();
        assert!(matches!(refused(dir.path()), StorageError::Damaged { .. }), "twice");
        fs::write(one, &bytes.1).unwrap();
        assert!(matches!(refused(dir.path()), StorageError::Damaged { .. }), "swapped");
        fs::write(one, &bytes.0).unwrap();
        fs::write(two, &bytes.1).unwrap();
    }
    // The same segment of another log, with the same batches.
    let other = tempfile::tempdir().unwrap();
    let log = open(other.path()).unwrap();
    for index in 0..18 {
        append(&log, large(index..index + 1));
    }
    drop(log);
    for (own, foreign) in paths.iter().zip(segments(other.path())).skip(1).take(3) {
        let bytes = fs::read(own).unwrap();
        fs::copy(&foreign, own).unwrap();
        assert!(
            matches!(refused(dir.path()), StorageError::Damaged { .. }),
            "foreign {}",
            foreign.display()
        );
        fs::write(own, bytes).unwrap();
    }
    assert_eq!(bounds(&open(dir.path()).unwrap()), Some((0, 17)));
    fs::remove_dir_all(segments_in(dir.path())).unwrap();
    assert!(matches!(refused(dir.path()), StorageError::Amnesia { end: 0, .. }));
    assert!(!segments_in(dir.path()).exists(), "nothing is made in its place");
}

/// What a file held when it was another segment would be a log, were it not for the salt.
#[test]
fn what_a_used_file_still_holds_does_not_count() {
    let dir = tempfile::tempdir().unwrap();
    let log = open(dir.path()).unwrap();
    for index in 0..16 {
        append(&log, large(index..index + 1));
    }
    log.purge_to(15, Bytes::new());
    for index in 16..22 {
        append(&log, large(index..index + 1));
    }
    drop(log);
    let stale = |path: &PathBuf| {
        let bytes = fs::read(path).unwrap();
        let salt = Segment::open(
            path,
            segment::number(&path.file_name().unwrap().to_string_lossy()).unwrap(),
            Access::Read,
        )
        .unwrap()
        .salt;
        let sectors = bytes.chunks(512).skip(8);
        sectors
            .filter(|sector| sector.starts_with(b"aumb") && frame::header(sector, salt).is_none())
            .count()
    };
    let found: usize = segments(dir.path()).iter().map(stale).sum();
    assert!(found > 0, "no file was used again: the test shows nothing");
    let log = open(dir.path()).unwrap();
    assert_eq!(log.read(0..u64::MAX, usize::MAX), large(16..22));
}

/// A file that is damaged while the log is open: whoever reads it is told.
#[test]
fn an_entry_is_checked_at_every_read() {
    let dir = tempfile::tempdir().unwrap();
    make(dir.path());
    let mut image = Image::read(dir.path()).unwrap().unwrap();
    assert!(image.take_cut().is_none());
    let (path, at) = image.place(7);
    let mut bytes = fs::read(&path).unwrap();
    bytes[at as usize + 25] ^= 4;
    fs::write(&path, bytes).unwrap();
    let error = image.entry(7).unwrap_err().to_string();
    assert!(error.contains(&format!("log entry 7, at byte {at}")), "{error}");
    image.entry(8).unwrap();
}
