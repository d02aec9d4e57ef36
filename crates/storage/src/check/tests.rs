//! Whatever is flipped, cut or missing: what opens has the right data, and what does not open is found.

use std::fs;
use std::ops::Range;
use std::path::{Path, PathBuf};

use aumbry_state::{Input, Machine, Payload};
use aumbry_types::{LeaderId, LogId, LogIndex, NodeId, Term};
use bytes::Bytes;

use super::*;
use crate::floor::Floor;
use crate::log::{Log, Meta};
use crate::testing::{used, wait};
use crate::{AuditSegments, DataDir, StateDb, Wal};

/// One flip in each so many bytes of a file; a prime, so that all kinds of places are hit.
const STEP: usize = 211;

fn findings(look: impl FnOnce(&mut Check<'_>)) -> Vec<Finding> {
    let mut progress = |_, _| {};
    let mut check = Check::new(&mut progress);
    look(&mut check);
    check.finish().0
}

fn entries(indexes: Range<u64>) -> Vec<(u64, Bytes)> {
    indexes
        .map(|index| (index, Bytes::from(format!("entry {index:>90}"))))
        .collect()
}

fn vote(log: &Wal, vote: &'static str) {
    wait(|done| log.put_meta(Meta::Vote, Bytes::from(vote), Some(done)));
}

/// A log that was opened twice, purged and voted in.
fn make_log(dir: &Path) {
    let log = Wal::open(dir).unwrap();
    wait(|done| log.append(entries(0..100), done));
    vote(&log, "first");
    log.purge_to(9, Bytes::from_static(b"marker"));
    drop(log);
    let log = Wal::open(dir).unwrap();
    wait(|done| log.append(entries(100..150), done));
    vote(&log, "second");
    wait(|done| log.append(entries(150..200), done));
}

type Content = (Vec<(u64, Bytes)>, Option<Bytes>);

fn content(log: &Wal) -> Content {
    (log.read(0..u64::MAX, usize::MAX), log.meta(Meta::Vote))
}

fn copy(from: &Path) -> tempfile::TempDir {
    let to = tempfile::tempdir().unwrap();
    copy_into(from, to.path());
    to
}

fn copy_into(from: &Path, to: &Path) {
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.path().is_dir() {
            fs::create_dir(&target).unwrap();
            copy_into(&entry.path(), &target);
        } else {
            fs::copy(entry.path(), target).unwrap();
        }
    }
}

fn files_below(dir: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(files_below(&path));
        } else {
            found.push(path);
        }
    }
    found.sort();
    found
}

fn bytes_below(dir: &Path) -> Vec<(PathBuf, Vec<u8>)> {
    files_below(dir)
        .into_iter()
        .map(|path| (path.clone(), fs::read(path).unwrap()))
        .collect()
}

fn check_log(dir: &Path) -> Vec<Finding> {
    findings(|check| drop(check.log(dir, |_, _| Ok(()))))
}

/// A copy of the directory with one bit of one file flipped, for many files and places.
fn each_flip(dir: &Path, mut each: impl FnMut(&Path, &str)) {
    for path in files_below(dir) {
        let size = used(&fs::read(&path).unwrap());
        for byte in (0..size).step_by(STEP).chain(size.checked_sub(1)) {
            let copy = copy(dir);
            let flipped = copy.path().join(path.strip_prefix(dir).unwrap());
            let mut bytes = fs::read(&flipped).unwrap();
            bytes[byte] ^= 1 << (byte % 8);
            fs::write(&flipped, bytes).unwrap();
            let context = format!("{}, byte {byte}", path.strip_prefix(dir).unwrap().display());
            each(copy.path(), &context);
        }
    }
}

#[test]
fn an_intact_log_is_read_and_not_changed() {
    let dir = tempfile::tempdir().unwrap();
    make_log(dir.path());
    let before = bytes_below(dir.path());
    let mut read = Vec::new();
    let mut facts = LogFacts::default();
    let found = findings(|check| {
        facts = check.log(dir.path(), |index, bytes| {
            read.push((index, bytes));
            Ok(())
        });
    });
    assert_eq!(found, []);
    assert_eq!(read, entries(10..200));
    assert_eq!(
        (facts.first, facts.last, facts.purged, facts.end()),
        (Some(10), Some(199), Some(9), 200)
    );
    assert_eq!(facts.meta[0].as_deref(), Some(&b"second"[..]));
    assert_eq!(bytes_below(dir.path()), before);
    let complains = findings(|check| drop(check.log(dir.path(), |_, _| Err("no".to_owned()))));
    assert_eq!(complains.len(), 1);
}

/// P11 of the fault model, for one flip: never wrong data, never a shorter log, and no refusal that the check does not explain.
#[test]
fn a_flip_in_the_log_is_refused_or_does_no_harm() {
    let dir = tempfile::tempdir().unwrap();
    make_log(dir.path());
    let expected = (entries(10..200), Some(Bytes::from_static(b"second")));
    let mut refusals = 0;
    each_flip(dir.path(), |copy, context| {
        let found = check_log(copy);
        match Wal::open(copy) {
            Ok(log) => assert_eq!(content(&log), expected, "{context}"),
            Err(error) => {
                refusals += 1;
                assert!(error.is_damage(), "{context}: {error}");
                assert!(!found.is_empty(), "{context}: {error}");
            }
        }
    });
    assert!(
        refusals > 20,
        "only {refusals} flips were refused: the run shows nothing"
    );
}

#[test]
fn a_missing_file_of_the_log_is_refused_and_nothing_is_made_in_its_place() {
    let dir = tempfile::tempdir().unwrap();
    make_log(dir.path());
    let files = files_below(dir.path());
    assert_eq!(files.len(), 2, "the floor and a segment");
    for path in &files {
        let copy = copy(dir.path());
        fs::remove_file(copy.path().join(path.strip_prefix(dir.path()).unwrap())).unwrap();
        let left = bytes_below(copy.path()).len();
        assert!(!check_log(copy.path()).is_empty(), "{}", path.display());
        assert!(Wal::open(copy.path()).is_err(), "{}", path.display());
        assert!(
            bytes_below(copy.path()).len() >= left,
            "{}: something was removed",
            path.display()
        );
    }
}

/// The newest segment, and where its batches end.
fn newest(dir: &Path) -> (PathBuf, usize) {
    let path = files_below(&dir.join("wal")).pop().unwrap();
    let end = used(&fs::read(&path).unwrap());
    (path, end)
}

/// Takes away what was written after a place, as a disk that lost its last writes does.
fn forget_after(path: &Path, left: usize) {
    let mut bytes = fs::read(path).unwrap();
    bytes[left..].fill(0);
    fs::write(path, bytes).unwrap();
}

#[test]
fn a_cut_acknowledged_end_is_refused_by_the_floor_alone() {
    let dir = tempfile::tempdir().unwrap();
    make_log(dir.path());
    let (path, end) = newest(dir.path());
    // Within the last append: this looks like a torn write.
    forget_after(&path, end - 500);
    let whole_floor = fs::read(dir.path().join("floor")).unwrap();
    let error = Wal::open(dir.path()).map(drop).unwrap_err();
    assert!(
        matches!(
            error,
            StorageError::Amnesia {
                end: 150,
                acknowledged: 200,
                ..
            }
        ),
        "{error}"
    );
    assert!(
        check_log(dir.path())[0]
            .what
            .contains("everything before 200 was acknowledged")
    );

    // The control: with a floor that knows nothing the shorter log would be taken for the whole one.
    Floor::create(&dir.path().join("floor")).unwrap();
    assert_eq!(check_log(dir.path()), []);
    assert_eq!(Wal::open(dir.path()).unwrap().last_index(), Some(149));
    fs::write(dir.path().join("floor"), whole_floor).unwrap();
    assert!(Wal::open(dir.path()).is_err());
}

#[test]
fn a_forgotten_vote_is_refused_by_the_floor_alone() {
    let dir = tempfile::tempdir().unwrap();
    let log = Wal::open(dir.path()).unwrap();
    wait(|done| log.append(entries(0..10), done));
    vote(&log, "first");
    let (path, before) = newest(dir.path());
    vote(&log, "second");
    drop(log);
    forget_after(&path, before);
    let error = Wal::open(dir.path()).map(drop).unwrap_err();
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
    assert!(check_log(dir.path())[0].what.contains("2 were given"));

    // The control: without the count nothing tells that there was a second vote.
    Floor::create(&dir.path().join("floor")).unwrap();
    assert_eq!(Wal::open(dir.path()).unwrap().meta(Meta::Vote).unwrap(), "first");
}

/// The rows and bodies of so many entries.
fn apply(dir: &Path, entries: u64) -> Machine {
    let db = StateDb::open(&dir.join("state")).unwrap();
    let audit = AuditSegments::open(&dir.join("audit"), None).unwrap();
    let mut machine = Machine::load(&db).unwrap();
    for index in 0..entries {
        let input = Input {
            log_id: LogId {
                leader: LeaderId {
                    term: Term(1),
                    node: NodeId(1),
                },
                index: LogIndex(index),
            },
            payload: Payload::Blank,
        };
        let applied = machine.apply(&db, &[input]).unwrap();
        db.write(applied.rows);
        let bodies = applied.bodies.into_iter().zip(applied.results);
        let bodies: Vec<_> = bodies
            .map(|((index, body), result)| (index.0, result.first_seq, body))
            .collect();
        audit.append(&bodies);
    }
    // Rows that are not part of the digest, to fill some blocks.
    db.write((0..500u32).map(|n| {
        let key = [&[0xf5][..], &n.to_be_bytes()].concat();
        (Bytes::from(key), Some(Bytes::from(vec![n as u8; 50])))
    }));
    audit.sync();
    db.flush();
    machine
}

fn check_applied(dir: &Path, applied: u64) -> Vec<Finding> {
    findings(|check| {
        let rows = check.rows(&dir.join("state"), b"none");
        check.audit(&dir.join("audit"), Some(applied), rows.audit, &rows.pruned);
    })
}

#[test]
fn flipped_rows_and_bodies_are_found_or_do_no_harm() {
    let dir = tempfile::tempdir().unwrap();
    apply(dir.path(), 40);
    let before = bytes_below(dir.path());
    assert_eq!(check_applied(dir.path(), 39), []);
    assert_eq!(bytes_below(dir.path()), before);
    let mut expected = Vec::new();
    let rows = StateDb::open(&dir.path().join("state")).unwrap();
    rows.export(|key, row| expected.push((key.to_vec(), row.to_vec())));
    drop(rows);

    let mut found_in = [0, 0];
    each_flip(dir.path(), |copy, context| {
        let found = check_applied(copy, 39);
        if let Some(finding) = found.first() {
            found_in[usize::from(finding.part == Part::Audit)] += 1;
            return;
        }
        assert!(!context.starts_with("audit/1"), "{context}");
        let mut rows = Vec::new();
        let db = StateDb::open(&copy.join("state")).unwrap();
        db.export(|key, row| rows.push((key.to_vec(), row.to_vec())));
        assert!(rows == expected, "{context}");
    });
    assert!(found_in[0] > 10 && found_in[1] > 1, "{found_in:?}");
}

#[test]
fn what_is_whole_and_does_not_add_up_is_found() {
    let what = |found: Vec<Finding>| {
        found
            .into_iter()
            .map(|finding| finding.what)
            .collect::<Vec<_>>()
            .join("; ")
    };
    let dir = tempfile::tempdir().unwrap();
    let db_path = dir.path().join("state");
    apply(dir.path(), 40);

    // The segment of another history: every checksum is right.
    let other = tempfile::tempdir().unwrap();
    apply(other.path(), 30);
    assert!(what(check_applied(dir.path(), 41)).contains("ends at log entry 39"));
    let segment = |dir: &Path| files_below(&dir.join("audit/1")).remove(0);
    fs::copy(segment(other.path()), segment(dir.path())).unwrap();
    assert!(what(check_applied(dir.path(), 29)).contains("not those of the audit root"));
    fs::remove_file(segment(dir.path())).unwrap();
    assert!(what(check_applied(dir.path(), 39)).contains("is missing"));

    // A row that no entry gave.
    let db = StateDb::open(&db_path).unwrap();
    let row = Bytes::from_static(&[1; 90]);
    db.write([(aumbry_state::key::node_ids(), Some(row))]);
    db.flush();
    drop(db);
    assert!(what(check_applied(dir.path(), 39)).contains("state digest"));

    // Without the pointer nothing says which rows count, and none is made in their place.
    fs::remove_file(db_path.join("CURRENT")).unwrap();
    assert!(what(check_applied(dir.path(), 39)).contains("it is missing"));
    assert!(StateDb::open(&db_path).is_err());
    assert!(db_path.join("1").exists());
}

#[test]
fn an_audit_without_its_first_segment_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    AuditSegments::replace_all(dir.path(), (0..5).map(|index| (index, index + 3, vec![0; 9]))).unwrap();
    let error = AuditSegments::open(dir.path(), 4).map(drop).unwrap_err();
    assert!(error.to_string().contains("it begins with audit record 3"), "{error}");
    AuditSegments::replace_all(dir.path(), (0..5).map(|index| (index, index, vec![0; 9]))).unwrap();
    AuditSegments::open(dir.path(), 4).unwrap();
}

#[test]
fn a_directory_is_looked_at_whatever_its_format_says() {
    let root = tempfile::tempdir().unwrap();
    let path = root.path().join("data");
    assert!(DataDir::look(&path).is_err(), "nothing is made");
    assert!(!path.exists());
    let dir = DataDir::open(&path).unwrap();
    assert!(matches!(DataDir::look(&path), Err(StorageError::Locked { .. })));
    dir.write("one", b"1").unwrap();
    drop(dir);
    for (format, is_right) in [
        (Some("2\n"), true),
        (Some("1\n"), false),
        (Some("0\n"), false),
        (Some("q\n"), false),
        (None, false),
    ] {
        match format {
            Some(text) => fs::write(path.join("FORMAT"), text).unwrap(),
            None => fs::remove_file(path.join("FORMAT")).unwrap(),
        }
        let (dir, wrong) = DataDir::look(&path).unwrap();
        assert_eq!(wrong.is_none(), is_right, "{format:?}");
        drop(dir);
        assert_eq!(DataDir::open(&path).is_ok(), is_right, "{format:?}");
    }
    let (dir, _) = DataDir::look(&path).unwrap();
    dir.write_format().unwrap();
    let files = [PathBuf::from("one"), PathBuf::from("snapshots"), PathBuf::from("none")];
    assert_eq!(dir.set_aside(&files).unwrap(), path.join("damaged-1"));
    assert_eq!(fs::read(path.join("damaged-1/one")).unwrap(), b"1");
    assert_eq!(dir.names().unwrap(), Vec::<String>::new());
    assert_eq!(dir.set_aside(&[]).unwrap(), path.join("damaged-2"));
    drop(dir);
    DataDir::open(&path).unwrap();
}
