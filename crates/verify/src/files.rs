//! Files that are named in the arguments, read with a bound and never written over.

use std::fs::{File, OpenOptions};
use std::io::{Read as _, Write as _};
use std::path::Path;

use crate::verdict::Failure;

pub(crate) fn open(path: &Path) -> Result<File, Failure> {
    File::open(path).map_err(|error| Failure::Usage(format!("cannot open {}: {error}", path.display())))
}

/// All of a short text file.
pub(crate) fn text(path: &Path, most: usize) -> Result<String, Failure> {
    let mut bytes = Vec::new();
    let read = open(path)?.take(most as u64 + 1).read_to_end(&mut bytes);
    read.map_err(|error| Failure::Usage(format!("cannot read {}: {error}", path.display())))?;
    if bytes.len() > most {
        return Err(Failure::Usage(format!(
            "{} is longer than {most} bytes: name another file",
            path.display()
        )));
    }
    String::from_utf8(bytes).map_err(|_| Failure::Usage(format!("{} is not text: name another file", path.display())))
}

/// Writes a file that does not exist yet.
pub(crate) fn write_new(path: &Path, bytes: &[u8]) -> Result<(), Failure> {
    let file = OpenOptions::new().write(true).create_new(true).open(path);
    file.and_then(|mut file| file.write_all(bytes).and_then(|()| file.sync_all()))
        .map_err(|error| {
            Failure::Usage(format!(
                "cannot write {}: {error}; what exists is never written over",
                path.display()
            ))
        })
}
