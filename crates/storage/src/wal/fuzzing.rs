//! Images of logs, for the fuzzer: their bytes, and where in them each batch is.

use std::ops::Range;
use std::path::Path;

use bytes::Bytes;

use super::frame::{self, Builder, Record};
use super::image::Image;
use super::scan::FIRST;
use super::segment::{self, FRAMES_START};
use super::state::State;
use crate::StorageError;
use crate::log::Meta;

/// One change of a log.
#[derive(Debug, Clone)]
pub enum Change {
    /// Appends an entry at the index that is next; at this one if any will do.
    Append(u64, Bytes),
    /// Removes the entries from an index on.
    Truncate(u64),
    /// Removes the entries up to an index.
    Purge(u64, Bytes),
    /// Stores a small value.
    Put(Meta, Bytes),
}

/// A file of a log.
#[derive(Debug, Clone)]
pub struct SegmentImage {
    /// Its name.
    pub name: String,
    /// What is in it.
    pub bytes: Vec<u8>,
    /// Where in it each of its batches is.
    pub batches: Vec<Range<usize>>,
}

/// What a log holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Held {
    /// The entries, with their indexes.
    pub entries: Vec<(u64, Bytes)>,
    /// One past the last index.
    pub end: u64,
    /// How many votes were stored.
    pub votes: u64,
    /// The small values.
    pub meta: [Option<Bytes>; 3],
}

/// The files of a log: for each segment its batches, for each batch its changes. All have this size.
///
/// # Panics
/// If the batches do not fit.
#[must_use]
pub fn image(segments: &[Vec<Vec<Change>>], bytes: usize) -> Vec<SegmentImage> {
    let (mut state, mut batch) = (State::default(), 1);
    let mut files = Vec::new();
    for (number, batches) in (FIRST..).zip(segments) {
        let mut file = vec![0; bytes];
        let header = segment::header(number, salt(number), salt(number - 1), bytes as u64);
        file[..header.len()].copy_from_slice(&header);
        let mut at = FRAMES_START as usize;
        let mut places = Vec::new();
        for changes in batches {
            let mut builder = Builder::default();
            builder.begin(salt(number));
            if at == FRAMES_START as usize {
                builder.add(Record::State(&state));
            }
            for change in changes {
                write(&mut builder, &mut state, change);
            }
            let frame = builder.end(batch);
            file[at..at + frame.len()].copy_from_slice(frame);
            places.push(at..at + frame.len());
            at += frame.len();
            batch += 1;
        }
        files.push(SegmentImage {
            name: segment::name(number),
            bytes: file,
            batches: places,
        });
    }
    files
}

/// Reads the log in a directory as a node does that starts on it.
///
/// # Errors
/// [`StorageError::Damaged`] if it is damaged or shorter than it was made.
pub fn held(dir: &Path) -> Result<Option<Held>, StorageError> {
    let Some(mut image) = Image::read(dir)? else {
        return Ok(None);
    };
    if let Some(cut) = image.take_cut() {
        return Err(cut);
    }
    let entries = image.entries().map(|index| Ok((index, image.entry(index)?)));
    Ok(Some(Held {
        entries: entries.collect::<Result<_, StorageError>>()?,
        end: image.end(),
        votes: image.votes(),
        meta: image.meta().clone(),
    }))
}

/// Sets all checksums of a segment right, as far as its lengths allow.
pub fn mend(file: &mut [u8]) {
    if file.len() < FRAMES_START as usize {
        return;
    }
    segment::mend(file);
    let salt = frame::u64_at(file, 16);
    let mut at = FRAMES_START as usize;
    while let Some(length) = frame::mend(&mut file[at..], salt) {
        at += length;
        if at >= file.len() {
            break;
        }
    }
}

fn write(builder: &mut Builder, state: &mut State, change: &Change) {
    match change {
        Change::Append(index, bytes) => {
            let index = state.next().unwrap_or(*index);
            builder.add(Record::Entry(index, bytes));
            state.append(index);
        }
        Change::Truncate(from) => {
            builder.add(Record::Truncate(*from));
            state.truncate(*from);
        }
        Change::Purge(index, marker) => {
            builder.add(Record::Purge(*index, marker));
            state.purge(*index, marker.clone());
        }
        Change::Put(key, bytes) => {
            builder.add(Record::Meta(*key, bytes));
            state.put(*key, bytes.clone());
        }
    }
}

/// One for each segment; 0 stands for none.
const fn salt(number: u64) -> u64 {
    number.wrapping_mul(0x9e37_79b9_7f4a_7c15)
}
