//! Logs with right checksums and impossible numbers. Each was an overflow, or memory for what nothing holds, and ended the process where the
//! damage is to be told; fuzzing found them.

use std::fs;

use aumbry_storage::fuzzing::{Change, held, image, mend};
use aumbry_storage::{Meta, StorageError};
use bytes::Bytes;

/// Writes a number into a log of one segment with this change as its only one, and reads the log.
fn read(change: Change, segment: u64, patches: &[(usize, u64)]) -> Result<(), StorageError> {
    let mut file = image(&[vec![vec![change]]], 16 << 10).remove(0).bytes;
    for (at, number) in [(SEGMENT, segment)].iter().chain(patches) {
        file[*at..*at + 8].copy_from_slice(&number.to_be_bytes());
    }
    mend(&mut file);
    let dir = tempfile::tempdir().expect("a temporary directory");
    let wal = dir.path().join("wal");
    fs::create_dir(&wal).expect("a directory is made");
    fs::write(wal.join(format!("{segment:016x}.seg")), file).expect("a file is written");
    held(dir.path()).map(|held| assert!(held.is_some(), "the log is there"))
}

#[test]
fn a_number_that_no_log_reaches_is_damage() {
    let append = || Change::Append(7, Bytes::from_static(b"seven"));
    let purge = || Change::Purge(7, Bytes::from_static(b"seven"));
    let vote = || Change::Put(Meta::Vote, Bytes::from_static(b"vote"));
    let damaged = |read: Result<(), StorageError>| matches!(read, Err(StorageError::Damaged { .. }));
    let max = u64::MAX;
    assert!(
        damaged(read(append(), 1, &[(RECORD_NUMBER, max)])),
        "an entry without a next one"
    );
    assert!(
        damaged(read(purge(), 1, &[(RECORD_NUMBER, max)])),
        "a purge of all there can be"
    );
    assert!(
        damaged(read(append(), 2, &[(BATCH, max)])),
        "a batch without a next one"
    );
    assert!(
        damaged(read(append(), 1, &[(SEGMENT_BYTES, max)])),
        "a file as large as no disk"
    );
    // The controls: the same with numbers that a log reaches. A count of votes has no next one to have.
    for (change, segment, patch) in [
        (append(), 1, (RECORD_NUMBER, max - 1)),
        (purge(), 1, (RECORD_NUMBER, max - 1)),
        (append(), 2, (BATCH, max - 1)),
        (append(), 1, (SEGMENT_BYTES, 16 << 10)),
        (vote(), 1, (STATE_VOTES, max)),
    ] {
        read(change, segment, &[patch]).unwrap_or_else(|error| panic!("{patch:?}: {error}"));
    }
}

/// In the header of the segment: its number, and its size.
const SEGMENT: usize = 8;
const SEGMENT_BYTES: usize = 32;
/// In the header of the first frame.
const BATCH: usize = 4_096 + 8;
/// In the state that is the first record: behind the headers of frame and record, the fourth number.
const STATE_VOTES: usize = 4_096 + 32 + 20 + 24;
/// In the header of the second record: behind the state, which has four numbers and no small values.
const RECORD_NUMBER: usize = 4_096 + 32 + 20 + 44 + 12;
