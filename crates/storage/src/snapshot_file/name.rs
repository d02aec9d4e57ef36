//! What identifies a snapshot file.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt as _;

use super::format::TRAILER_BYTES;

/// The name of the content of a whole snapshot file, and its length. Its trailer alone is read: the hash in it covers everything before, so
/// files with one name have the same bytes, whichever node wrote them.
///
/// # Errors
/// The disk's, or that the file is shorter than any snapshot.
pub fn snapshot_name(file: &File) -> io::Result<([u8; 32], u64)> {
    let length = file.metadata()?.len();
    let mut trailer = [0; TRAILER_BYTES];
    let start = length.checked_sub(TRAILER_BYTES as u64);
    let start = start.ok_or_else(|| io::Error::new(io::ErrorKind::UnexpectedEof, "the snapshot has no trailer"))?;
    file.read_exact_at(&mut trailer, start)?;
    Ok((aumbry_crypto::sha256(&[LABEL, &length.to_be_bytes(), &trailer]), length))
}

const LABEL: &[u8] = b"aumbry/snapshot/name/1\0";
