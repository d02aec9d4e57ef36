//! What a reopened, a crashed and an installed database holds.

use std::fs;

use aumbry_state::MemoryView;

use super::*;

fn put(key: &str, row: &str) -> (Bytes, Option<Bytes>) {
    (key.to_owned().into(), Some(row.to_owned().into()))
}

fn rows(state: &StateDb) -> Vec<(String, String)> {
    let mut rows = Vec::new();
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    state.export(|key, row| rows.push((text(key), text(row))));
    rows
}

/// What the disk would have if the process died now: RocksDB keeps nothing in files that it has not flushed.
fn crash(dir: &Path) -> tempfile::TempDir {
    let copy = tempfile::tempdir().unwrap();
    copy_dir(dir, copy.path());
    copy
}

fn copy_dir(from: &Path, to: &Path) {
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let to = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            fs::create_dir(&to).unwrap();
            copy_dir(&entry.path(), &to);
        } else {
            fs::copy(entry.path(), to).unwrap();
        }
    }
}

#[test]
fn a_crash_keeps_what_was_flushed() {
    let dir = tempfile::tempdir().unwrap();
    let state = StateDb::open(dir.path()).unwrap();
    state.write([put("a", "1"), put("b", "2")]);
    assert!(state.unflushed_bytes() > 0);
    state.flush();
    assert_eq!(state.unflushed_bytes(), 0);
    state.write([put("c", "3"), (Bytes::from_static(b"a"), None)]);
    assert_eq!(state.get(b"c").unwrap(), "3");

    let crashed = crash(dir.path());
    let after = StateDb::open(crashed.path()).unwrap();
    assert_eq!(rows(&after), [("a".into(), "1".into()), ("b".into(), "2".into())]);

    state.flush();
    drop(state);
    let state = StateDb::open(dir.path()).unwrap();
    assert_eq!(rows(&state), [("b".into(), "2".into()), ("c".into(), "3".into())]);
}

#[test]
fn a_flush_is_one_table_whatever_its_size() {
    let dir = tempfile::tempdir().unwrap();
    let state = StateDb::open(dir.path()).unwrap();
    let row = Bytes::from(vec![1; 1 << 20]);
    for round in 1..=2_u16 {
        // More than any memory table of RocksDB's defaults takes.
        for n in 0..160_u16 {
            let key = Bytes::copy_from_slice(&(n * round).to_be_bytes());
            state.write([(key, Some(row.clone()))]);
        }
        state.flush();
        assert_eq!(state.db.live_files().unwrap().len(), usize::from(round));
    }
    assert!(!state.db.path().join(NEXT_TABLE).exists());
}

#[test]
fn what_a_crash_left_of_a_flush_does_not_count() {
    let dir = tempfile::tempdir().unwrap();
    let state = StateDb::open(dir.path()).unwrap();
    state.write([put("a", "1")]);
    state.flush();
    fs::write(state.db.path().join(NEXT_TABLE), "half a table").unwrap();
    drop(state);

    let state = StateDb::open(dir.path()).unwrap();
    assert_eq!(rows(&state), [("a".into(), "1".into())]);
    state.write([put("a", "2")]);
    state.flush();
    assert_eq!(rows(&state), [("a".into(), "2".into())]);
}

#[test]
fn rows_out_of_order_are_not_installed() {
    let dir = tempfile::tempdir().unwrap();
    drop(StateDb::open(dir.path()).unwrap());
    let rows = ["b", "a"].map(|key| (Bytes::from(key), Bytes::new()));
    assert!(install_state(dir.path(), rows).is_err());
}

#[test]
fn it_reads_like_memory() {
    let dir = tempfile::tempdir().unwrap();
    let state = StateDb::open(dir.path()).unwrap();
    let memory = MemoryView::default();
    let keys: [&[u8]; 8] = [b"", b"a", b"a\x00", b"a\xff", b"a\xff\xff", b"b", b"\xff", b"\xff\xff"];
    for key in keys {
        let row = [(Bytes::from_static(key), Some(Bytes::from_static(key)))];
        memory.write(row.clone());
        state.write(row);
    }
    let snapshot = state.snapshot();
    for prefix in keys {
        assert_eq!(state.get(prefix), memory.get(prefix));
        for after in keys.map(Some).into_iter().chain([None]) {
            for limit in [0, 1, 2, 100] {
                let expected = memory.scan(prefix, after, limit);
                assert_eq!(
                    state.scan(prefix, after, limit),
                    expected,
                    "{prefix:?} {after:?} {limit}"
                );
                assert_eq!(snapshot.scan(prefix, after, limit), expected);
            }
        }
    }
}

#[test]
fn a_snapshot_does_not_see_later_writes() {
    let dir = tempfile::tempdir().unwrap();
    let state = StateDb::open(dir.path()).unwrap();
    state.write([put("a", "1")]);
    let snapshot = state.snapshot();
    state.write([put("a", "2"), put("b", "2")]);
    state.flush();
    assert_eq!(snapshot.get(b"a").unwrap(), "1");
    assert_eq!(snapshot.scan(b"", None, 9).len(), 1);
}

#[test]
fn an_installation_counts_only_after_the_switch() {
    let dir = tempfile::tempdir().unwrap();
    let state = StateDb::open(dir.path()).unwrap();
    state.write([put("old", "1")]);
    state.flush();
    let install = || {
        let new = ["n1", "n2"].map(|key| (Bytes::from(key), Bytes::from_static(b"2")));
        install_state(dir.path(), new).unwrap()
    };
    let installed = install();
    let crashed = crash(dir.path());
    let after = StateDb::open(crashed.path()).unwrap();
    assert_eq!(rows(&after), [("old".into(), "1".into())]);

    switch_state(dir.path(), &installed).unwrap();
    assert_eq!(state.get(b"old").unwrap(), "1", "who has the old one open keeps it");
    let new = StateDb::open(dir.path()).unwrap();
    assert_eq!(state.get(b"old").unwrap(), "1");
    assert_eq!(rows(&new), [("n1".into(), "2".into()), ("n2".into(), "2".into())]);
}

/// Whether any file of the database holds these bytes.
fn is_on_disk(dir: &Path, bytes: &str) -> bool {
    let copy = crash(dir);
    let mut left = vec![copy.path().to_owned()];
    while let Some(path) = left.pop() {
        if path.is_dir() {
            left.extend(fs::read_dir(path).unwrap().map(|entry| entry.unwrap().path()));
        } else if fs::read(path)
            .unwrap()
            .windows(bytes.len())
            .any(|part| part == bytes.as_bytes())
        {
            return true;
        }
    }
    false
}

#[test]
fn what_was_replaced_is_erased_once_nobody_reads_it() {
    let dir = tempfile::tempdir().unwrap();
    let state = StateDb::open(dir.path()).unwrap();
    assert_eq!(state.erase_replaced(), Ok(()), "there is nothing");
    state.write([put("a", "the first value"), put("b", "another value"), put("c", "kept")]);
    state.flush();
    state.write([put("a", "the second value")]);
    let reader = state.snapshot();
    state.write([put("a", "the third value"), (Bytes::from_static(b"b"), None)]);
    state.flush();
    let old = ["the first value", "the second value", "another value"];
    assert!(old.iter().all(|value| is_on_disk(dir.path(), value)));

    assert_eq!(state.erase_replaced(), Err(StillHeld));
    assert_eq!(reader.get(b"a").unwrap(), "the second value");
    drop(reader);
    // Who reads the rows of now is in nobody's way.
    let reader = state.snapshot();
    assert_eq!(state.erase_replaced(), Ok(()));
    for value in old {
        assert!(!is_on_disk(dir.path(), value), "{value}");
    }
    assert_eq!(reader.get(b"a").unwrap(), "the third value");
    drop(reader);
    // Once more: what is one table by now is written anew, too.
    state.write([put("a", "the fourth value")]);
    state.flush();
    assert_eq!(state.erase_replaced(), Ok(()));
    assert!(!is_on_disk(dir.path(), "the third value"));
    drop(state);
    let state = StateDb::open(dir.path()).unwrap();
    assert_eq!(
        rows(&state),
        [("a".into(), "the fourth value".into()), ("c".into(), "kept".into())]
    );
}
