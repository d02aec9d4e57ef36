//! The file of a sink, over its whole life: lines are added at its end, it is renamed away, cut from outside, lost and made anew.
//!
//! What it guarantees: after [`Output::append`] its lines are durable, whole and in one file. What a failure or a crash left behind the last
//! durable line is found by comparing it with the lines that come next, and is cut before they are written, also in a file that was renamed
//! meanwhile. Bytes that are not those lines are never touched: what follows them begins on a line of its own.
//!
//! What it does not do: know what a line is about, or wait. It blocks as long as the disk does.

use std::fs::{self, File, Metadata, Permissions};
use std::io::{self, ErrorKind, Write as _};
use std::os::unix::fs::{DirEntryExt as _, FileExt as _, MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, Mode, OFlags};
use rustix::io::Errno;
use serde::{Deserialize, Serialize};

use super::SinkError;
use super::lines::Rendered;
use super::writer::{Batch, Transport};
use crate::config::FileMode;

/// A position in a file: up to there it is durable.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Place {
    pub(super) dev: u64,
    pub(super) ino: u64,
    pub(super) length: u64,
}

impl Place {
    fn end_of(file: &Metadata) -> Self {
        Self {
            dev: file.dev(),
            ino: file.ino(),
            length: file.len(),
        }
    }

    fn is_in(&self, file: &Metadata) -> bool {
        (self.dev, self.ino) == (file.dev(), file.ino())
    }

    const fn after(self, lines: &[u8]) -> Self {
        Self {
            length: self.length + lines.len() as u64,
            ..self
        }
    }
}

/// What has become of lines before they are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Prepared {
    /// They belong here. The place must be stored before they are appended, or a crash could leave half of them unseen.
    At(Place),
    /// They were there already, and end here.
    Written(Place),
}

/// What stands behind a place.
enum Tail {
    /// Nothing, or nothing any more.
    Clear,
    /// The lines, and something after them.
    Written,
    /// Something that we did not write.
    Foreign,
    /// The file ends before the place.
    Missing,
}

/// The file of a sink.
pub(super) struct Output {
    path: PathBuf,
    mode: FileMode,
    /// The file that was written last.
    file: Option<File>,
}

impl Output {
    pub(super) const fn new(path: PathBuf, mode: FileMode) -> Self {
        Self { path, mode, file: None }
    }

    /// Opens or makes the file, and brings it to where these lines belong, which come after `place`.
    ///
    /// # Errors
    /// [`SinkError`]; nothing is lost by trying again.
    pub(super) fn prepare(&mut self, place: Option<Place>, lines: &[u8]) -> Result<Prepared, SinkError> {
        let held = self.file.take();
        let named = self.named()?;
        let place = match (place, &named) {
            // A device can have another number after a restart of the machine.
            (Some(place), Some(named)) if held.is_none() && place.ino == named.ino() => Some(Place {
                dev: named.dev(),
                ..place
            }),
            _ => place,
        };
        match (place, &named) {
            (Some(place), Some(named)) if place.is_in(named) => {
                let file = match held {
                    Some(file) => file,
                    None => self.open()?,
                };
                self.resume(file, place, lines)
            }
            _ => {
                if let Some(place) = place
                    && let Some(end) = self.leave(held, place, lines)?
                {
                    return Ok(Prepared::Written(end));
                }
                let file = if named.is_some() { self.open()? } else { self.create()? };
                let end = Place::end_of(&self.look(&file)?);
                self.resume(file, end, lines)
            }
        }
    }

    /// Adds lines at the end of the file that was prepared for them, and makes them durable.
    ///
    /// # Errors
    /// [`SinkError`]; some of the lines may be in the file then, and are dealt with when it is prepared again.
    pub(super) fn append(&mut self, place: Place, lines: &[u8]) -> Result<Place, SinkError> {
        // Taken out, so that after an error it is opened anew.
        let Some(mut file) = self.file.take() else {
            return Err(SinkError::Moved {
                path: self.path.clone(),
            });
        };
        file.write_all(lines)
            .and_then(|()| file.sync_all())
            .map_err(|source| self.failed("write", source))?;
        self.file = Some(file);
        Ok(place.after(lines))
    }

    /// Lets go of a file that was renamed or removed, so that its room can be had.
    pub(super) fn release(&mut self) {
        let is_named = |file: &File| match (file.metadata(), self.named()) {
            (Ok(file), Ok(Some(named))) => Place::end_of(&file).is_in(&named),
            _ => false,
        };
        if self.file.as_ref().is_some_and(|file| !is_named(file)) {
            self.file = None;
        }
    }

    /// Goes on in a file at a place.
    fn resume(&mut self, file: File, place: Place, lines: &[u8]) -> Result<Prepared, SinkError> {
        let found = self.look(&file)?;
        if !place.is_in(&found) {
            return Err(SinkError::Moved {
                path: self.path.clone(),
            });
        }
        let mut end = match self.settle(&file, place, lines)? {
            Tail::Clear => place,
            Tail::Written => {
                file.sync_all().map_err(|source| self.failed("sync", source))?;
                self.file = Some(file);
                return Ok(Prepared::Written(place.after(lines)));
            }
            Tail::Foreign => {
                let path = self.path.display();
                tracing::warn!(%path, "somebody else writes to the file of an audit sink; it goes on behind that");
                Place::end_of(&found)
            }
            Tail::Missing => {
                let path = self.path.display();
                tracing::warn!(%path, "the file of an audit sink was cut; rotate it by renaming, a cut loses lines");
                Place::end_of(&found)
            }
        };
        if !self.ends_a_line(&file, end.length)? {
            (&file)
                .write_all(b"\n")
                .and_then(|()| file.sync_all())
                .map_err(|source| self.failed("write", source))?;
            end.length += 1;
        }
        self.file = Some(file);
        Ok(Prepared::At(end))
    }

    /// Takes leave of a file that has another name now, or none: what was being written to it is cut. Gives the end of the lines if they are
    /// all in it.
    fn leave(&mut self, held: Option<File>, place: Place, lines: &[u8]) -> Result<Option<Place>, SinkError> {
        let is_it = |file: &File| file.metadata().is_ok_and(|file| file.ino() == place.ino);
        let Some(file) = held.filter(is_it).or_else(|| self.find(place)) else {
            return Ok(None);
        };
        match self.settle(&file, place, lines)? {
            Tail::Written => {
                file.sync_all().map_err(|source| self.failed("sync", source))?;
                self.file = Some(file);
                Ok(Some(place.after(lines)))
            }
            Tail::Clear | Tail::Foreign | Tail::Missing => Ok(None),
        }
    }

    /// Looks at what stands behind the place. It is cut if it is a beginning of the lines, which are about to be written: whole, torn, or with
    /// zeros where a power failure left a length without its bytes.
    fn settle(&self, file: &File, place: Place, lines: &[u8]) -> Result<Tail, SinkError> {
        let length = self.look(file)?.len();
        let Some(behind) = length.checked_sub(place.length) else {
            return Ok(Tail::Missing);
        };
        if behind == 0 {
            return Ok(Tail::Clear);
        }
        let mut tail = vec![0; behind.min(TAIL_BYTES_MAX) as usize];
        file.read_exact_at(&mut tail, place.length)
            .map_err(|source| self.failed("read", source))?;
        let same = tail.iter().zip(lines).take_while(|(a, b)| a == b).count();
        let is_whole = tail.len() as u64 == behind;
        if is_whole && tail[same..].iter().all(|byte| *byte == 0) {
            // Written again even if it is complete: a sync that failed may have lost bytes that are still to be read.
            file.set_len(place.length)
                .and_then(|()| file.sync_all())
                .map_err(|source| self.failed("cut", source))?;
            return Ok(Tail::Clear);
        }
        Ok(if same == lines.len() {
            Tail::Written
        } else {
            Tail::Foreign
        })
    }

    fn ends_a_line(&self, file: &File, length: u64) -> Result<bool, SinkError> {
        let Some(last) = length.checked_sub(1) else {
            return Ok(true);
        };
        let mut byte = [0];
        file.read_exact_at(&mut byte, last)
            .map_err(|source| self.failed("read", source))?;
        Ok(byte == *b"\n")
    }

    /// What the path names, if anything. A link is not followed: who may write to the directory must not choose where we write.
    fn named(&self) -> Result<Option<Metadata>, SinkError> {
        match fs::symlink_metadata(&self.path) {
            Ok(found) if found.is_file() => Ok(Some(found)),
            Ok(_) => Err(SinkError::NotAFile {
                path: self.path.clone(),
            }),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            Err(source) => Err(self.failed("look at", source)),
        }
    }

    fn look(&self, file: &File) -> Result<Metadata, SinkError> {
        let found = file.metadata().map_err(|source| self.failed("look at", source))?;
        if found.is_file() {
            Ok(found)
        } else {
            Err(SinkError::NotAFile {
                path: self.path.clone(),
            })
        }
    }

    fn open(&self) -> Result<File, SinkError> {
        let file = open(&self.path, OFlags::empty()).map_err(|source| self.failed("open", source))?;
        self.lock(file)
    }

    fn create(&self) -> Result<File, SinkError> {
        let made = open(&self.path, OFlags::CREATE | OFlags::EXCL).and_then(|file| {
            // Whatever the umask.
            file.set_permissions(Permissions::from_mode(self.mode.bits()))?;
            File::open(self.parent())?.sync_all()?;
            Ok(file)
        });
        self.lock(made.map_err(|source| self.failed("create", source))?)
    }

    /// Two nodes that wrote to one file would take each other's lines for damage. Not all file systems can lock; those are taken as they are.
    fn lock(&self, file: File) -> Result<File, SinkError> {
        match rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Err(Errno::WOULDBLOCK) => Err(SinkError::Shared {
                path: self.path.clone(),
            }),
            Ok(()) | Err(_) => Ok(file),
        }
    }

    /// The file of a place under the name that it has now, if it is still in the directory.
    fn find(&self, place: Place) -> Option<File> {
        let entries = fs::read_dir(self.parent()).ok()?.take(ENTRIES_MAX).flatten();
        entries.filter(|entry| entry.ino() == place.ino).find_map(|entry| {
            let file = open(&entry.path(), OFlags::empty()).ok()?;
            let found = file.metadata().ok()?;
            (found.is_file() && found.ino() == place.ino).then_some(file)
        })
    }

    fn parent(&self) -> &Path {
        self.path.parent().unwrap_or_else(|| Path::new("/"))
    }

    fn failed(&self, what: &'static str, source: io::Error) -> SinkError {
        SinkError::Io {
            what,
            path: self.path.clone(),
            source,
        }
    }
}

impl Transport for Output {
    fn frame(&self, record: &Rendered<'_>, into: &mut Vec<u8>) {
        into.extend_from_slice(record.text.as_bytes());
        into.push(b'\n');
    }

    fn deliver(
        &mut self,
        place: Option<Place>,
        batch: &Batch,
        keep: &mut dyn FnMut(Place) -> Result<(), SinkError>,
    ) -> Result<Option<Place>, SinkError> {
        let end = match self.prepare(place, &batch.lines)? {
            Prepared::Written(end) => end,
            Prepared::At(place) => {
                keep(place)?;
                self.append(place, &batch.lines)?
            }
        };
        Ok(Some(end))
    }

    fn idle(&mut self) {
        self.release();
    }
}

/// Each write goes to the end, wherever that is then. Opening never waits, whatever somebody put there.
fn open(path: &Path, how: OFlags) -> io::Result<File> {
    let always = OFlags::RDWR | OFlags::APPEND | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
    Ok(File::from(rustix::fs::open(
        path,
        always | how,
        Mode::RUSR | Mode::WUSR,
    )?))
}

/// More than one batch; what is longer is not only ours.
const TAIL_BYTES_MAX: u64 = 8 << 20;
/// A directory of logs has hundreds of files.
const ENTRIES_MAX: usize = 100_000;
