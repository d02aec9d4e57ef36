//! Files that hold signed checkpoints: a signed note alone, or lines of an export, among them a whole export.

use std::io::{BufRead as _, BufReader, Read as _};
use std::path::Path;

use aumbry_audit::export::{Line, Reason, noted, read_line};
use aumbry_audit::{Checkpoint, CheckpointError, NOTE_BYTES_MAX};

use crate::files;
use crate::trust::Trust;
use crate::verdict::Failure;

/// A checkpoint whose signature is right.
pub(crate) struct Signed {
    pub(crate) checkpoint: Checkpoint,
    pub(crate) note: String,
}

/// Gives every checkpoint of a file to `each`, after its signature is verified. Lines that are no checkpoints are passed
/// over: the records of an export are for `aumbry-verify export`.
pub(crate) fn each(
    path: &Path,
    trust: &Trust,
    mut each: impl FnMut(Signed) -> Result<(), Failure>,
) -> Result<(), Failure> {
    let name = path.display().to_string();
    let mut reader = BufReader::new(files::open(path)?);
    let start = reader.fill_buf();
    let start = start.map_err(|error| Failure::Usage(format!("cannot read {name}: {error}")))?;
    if start.first() != Some(&b'{') {
        let mut note = String::new();
        let read = reader.take(NOTE_BYTES_MAX as u64 + 1).read_to_string(&mut note);
        let _ = read.map_err(|_| Failure::from(Reason::Checkpoint(CheckpointError::Malformed)).at(&name, None))?;
        let checkpoint = trust.verify(&note, None).map_err(|failure| failure.at(&name, None))?;
        return each(Signed { checkpoint, note }).map_err(|failure| failure.at(&name, None));
    }
    let (mut line, mut found) = (0, 0_u64);
    let mut text = Vec::new();
    loop {
        line += 1;
        let here = |failure: Failure| failure.at(&name, Some(line));
        if read_line(&mut reader, &mut text).map_err(|reason| here(reason.into()))? == Line::End {
            break;
        }
        if let Some((note, key)) = noted(&text).map_err(|reason| here(reason.into()))? {
            let checkpoint = trust.verify(&note, Some(key)).map_err(here)?;
            each(Signed { checkpoint, note }).map_err(here)?;
            found += 1;
        }
    }
    if found == 0 {
        return Err(Failure::from(Reason::NoCheckpoint).at(&name, None));
    }
    Ok(())
}

/// The last checkpoint of a file.
pub(crate) fn last(path: &Path, trust: &Trust) -> Result<Signed, Failure> {
    let mut last = None;
    each(path, trust, |signed| {
        last = Some(signed);
        Ok(())
    })?;
    last.ok_or_else(|| Reason::NoCheckpoint.into())
}
