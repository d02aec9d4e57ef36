//! What was written is read, and a change of any part is refused.

use std::fs;
use std::path::Path;

use super::*;
use crate::StorageError;

fn header() -> SnapshotHeader {
    SnapshotHeader {
        last_log_id: [3, 1, 40],
        membership: b"members".to_vec(),
    }
}

fn row(number: u32) -> (Vec<u8>, Vec<u8>) {
    (number.to_be_bytes().to_vec(), vec![number as u8; 100])
}

fn body(index: u64) -> (u64, u64, Vec<u8>) {
    (index, index * 3, vec![index as u8; 50])
}

fn write(path: &Path, rows: u32, bodies: u64) -> u64 {
    let mut writer = SnapshotWriter::create(path, &header()).unwrap();
    for number in 0..rows {
        let (key, row) = row(number);
        writer.row(&key, &row).unwrap();
    }
    for index in 0..bodies {
        let (index, seq, body) = body(index);
        writer.body(index, seq, &body).unwrap();
    }
    writer.finish().unwrap()
}

#[test]
fn what_was_written_is_read() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("snapshot");
    for (rows, bodies) in [(0, 0), (3, 0), (0, 3), (30_000, 30_000)] {
        let bytes = write(&path, rows, bodies);
        let reader = SnapshotReader::open(&path).unwrap();
        assert_eq!((reader.bytes(), reader.header()), (bytes, &header()));
        assert_eq!((reader.row_count(), reader.body_count()), (u64::from(rows), bodies));
        let read = reader.rows().map(|(key, row)| (key.to_vec(), row.to_vec()));
        assert!(read.eq((0..rows).map(row)));
        assert!(reader.bodies().eq((0..bodies).map(body)));
    }
}

#[test]
fn an_item_larger_than_a_chunk_fits() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("snapshot");
    let mut writer = SnapshotWriter::create(&path, &header()).unwrap();
    let large = vec![7; 3 << 20];
    writer.row(b"a", b"small").unwrap();
    writer.row(b"b", &large).unwrap();
    writer.row(b"c", b"small").unwrap();
    writer.body(1, 0, &large).unwrap();
    writer.finish().unwrap();
    let reader = SnapshotReader::open(&path).unwrap();
    let sizes: Vec<_> = reader.rows().map(|(_, row)| row.len()).collect();
    assert_eq!(sizes, [5, large.len(), 5]);
    assert_eq!(reader.bodies().count(), 1);
}

/// Abuse cases: 69.
#[test]
fn a_flip_of_any_byte_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("snapshot");
    write(&path, 3, 3);
    let whole = fs::read(&path).unwrap();
    for byte in 0..whole.len() {
        let mut flipped = whole.clone();
        flipped[byte] ^= 0x10;
        fs::write(&path, flipped).unwrap();
        let error = SnapshotReader::open(&path).unwrap_err();
        let refused = matches!(error, StorageError::Damaged { .. } | StorageError::Newer { .. });
        assert!(refused, "byte {byte}: {error}");
    }
    for len in 0..whole.len() {
        fs::write(&path, &whole[..len]).unwrap();
        assert!(SnapshotReader::open(&path).is_err(), "cut to {len}");
    }
    fs::write(&path, [&whole[..], b"x"].concat()).unwrap();
    assert!(SnapshotReader::open(&path).is_err(), "a byte too many");
}

#[test]
fn chunks_cannot_change_places() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("snapshot");
    write(&path, 30_000, 0);
    let mut bytes = fs::read(&path).unwrap();
    // The first two chunks have the same size, because all rows have.
    let start = header().encode().len();
    let size = 5 + u32::from_be_bytes(bytes[start + 1..start + 5].try_into().unwrap()) as usize + 32;
    let (first, second) = bytes[start..start + 2 * size].split_at_mut(size);
    first.swap_with_slice(second);
    fs::write(&path, bytes).unwrap();
    let error = SnapshotReader::open(&path).unwrap_err();
    assert!(matches!(error, StorageError::Damaged { .. }), "{error}");
}

/// Abuse cases: 69.
#[test]
fn an_unfinished_snapshot_leaves_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("snapshot");
    let mut writer = SnapshotWriter::create(&path, &header()).unwrap();
    writer.row(b"b", b"").unwrap();
    assert!(writer.row(b"b", b"").is_err());
    assert!(writer.row(b"a", b"").is_err());
    writer.body(4, 9, b"").unwrap();
    assert!(writer.row(b"c", b"").is_err());
    assert!(writer.body(6, 9, b"").is_err());
    assert!(writer.body(5, 8, b"").is_err());
    drop(writer);
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0);
}
