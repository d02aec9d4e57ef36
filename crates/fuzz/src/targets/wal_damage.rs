//! A log whose files were damaged. It is never shortened silently: it is refused, or it holds all batches, or those up to one after which
//! every batch was damaged, as a crash leaves it. (Whether an end is missing that others were told of is what the floor is for.)

use std::fs;
use std::sync::LazyLock;

use aumbry_storage::Meta;
use aumbry_storage::fuzzing::{Change, Held, SegmentImage, held, image};
use bytes::Bytes;

use super::in_directory;
use crate::{Choices, Target, Verdict};

pub(super) static TARGET: Target = Target {
    name: "wal_damage",
    seeds,
    run,
    bombs: Vec::new,
    input_bytes_max: 64,
    smoke: 2_000,
    ..Target::USUAL
};

/// A log, and what it holds after each of its batches, from none to all.
struct Log {
    files: Vec<SegmentImage>,
    states: Vec<Held>,
}

static LOGS: LazyLock<Vec<Log>> = LazyLock::new(|| {
    let append = |index, size| Change::Append(index, Bytes::from(vec![index as u8; size]));
    let vote = || Change::Put(Meta::Vote, Bytes::from_static(b"vote"));
    let purge = |index| Change::Purge(index, Bytes::from_static(b"purged"));
    let small = |indexes: core::ops::Range<u64>| indexes.map(|index| vec![append(index, 40)]).collect::<Vec<_>>();
    let one = vec![[small(1..6), vec![vec![vote()], vec![append(6, 700), append(7, 300)]]].concat()];
    let three = vec![
        vec![
            vec![append(1, 500), vote()],
            vec![append(2, 1_200)],
            vec![append(3, 10)],
        ],
        vec![
            vec![append(4, 10)],
            vec![Change::Truncate(4)],
            vec![append(4, 30), append(5, 30)],
        ],
        vec![vec![append(6, 10)], vec![append(7, 2_000)]],
    ];
    let purged = vec![
        vec![vec![append(1, 10), append(2, 10)], vec![vote()]],
        vec![vec![append(3, 10)], vec![purge(2)], vec![append(4, 10), vote()]],
        vec![vec![append(5, 10)]],
    ];
    let log = |segments: Vec<Vec<Vec<Change>>>| {
        let count = segments.iter().map(Vec::len).sum();
        let states = (0..=count).map(|kept| read(&image(&prefix(&segments, kept), SEGMENT_BYTES)));
        Log {
            files: image(&segments, SEGMENT_BYTES),
            states: states
                .map(|held| held.expect("it is whole").expect("it is there"))
                .collect(),
        }
    };
    [one, three, purged].map(log).into()
});

fn seeds() -> Vec<Vec<u8>> {
    let damages: [&[u8]; 6] = [
        &[],
        &[0, 0, 0x10, 0x20, 1],
        &[0, 1, 0x12, 0x20, 1],
        &[0, 2, 0x10, 0x40, 0xff],
        &[200, 0, 0x14, 0],
        &[220, 1],
    ];
    (0..3)
        .flat_map(|log| damages.map(|damage| [&[log], damage].concat()))
        .collect()
}

/// Which log; then damages: which, in which file, where, what with.
fn run(input: &[u8]) -> Verdict {
    let mut choices = Choices::new(input);
    let log = &LOGS[choices.below(LOGS.len())];
    let mut files = log.files.clone();
    while !choices.is_empty() {
        let kind = choices.byte();
        let number = choices.below(files.len());
        let (at, file) = (usize::from(choices.u16()) % SEGMENT_BYTES, &mut files[number].bytes);
        let end = (at + 1 + usize::from(choices.byte())).min(file.len());
        match kind {
            0..=149 => {
                if let Some(byte) = file.get_mut(at) {
                    *byte ^= choices.byte();
                }
            }
            // Sectors that never reached the disk.
            150..=199 => {
                let at = at & !511;
                let end = (at + 512).min(file.len());
                if at < end {
                    file[at..end].fill(0);
                }
            }
            200..=219 => file.truncate(at),
            220..=229 => {
                files.remove(number);
                if files.is_empty() {
                    break;
                }
            }
            _ if at < end => {
                let piece = file[at..end].to_vec();
                let to = usize::from(choices.u16()) % SEGMENT_BYTES;
                let room = file.len().saturating_sub(to).min(piece.len());
                if room > 0 {
                    file[to..to + room].copy_from_slice(&piece[..room]);
                }
            }
            _ => {}
        }
    }
    let Ok(Some(read)) = read(&files) else {
        return Verdict::Refused;
    };
    // From the last batch that is as it was written all must be there.
    let originals = log
        .files
        .iter()
        .flat_map(|file| file.batches.iter().map(move |place| (file, place.clone())));
    let is_kept = |(file, place): (&SegmentImage, core::ops::Range<usize>)| {
        let found = files.iter().find(|found| found.name == file.name);
        found.is_some_and(|found| found.bytes.get(place.clone()) == file.bytes.get(place))
    };
    let kept: Vec<bool> = originals.map(is_kept).collect();
    let needed = kept.iter().rposition(|kept| *kept).map_or(0, |last| last + 1);
    let is_right = log.states[needed..].contains(&read);
    assert!(is_right, "the log was shortened or changed silently: {kept:?} {read:?}");
    Verdict::Accepted
}

/// The first batches alone; each segment up to that of the last one.
fn prefix(segments: &[Vec<Vec<Change>>], mut batches: usize) -> Vec<Vec<Vec<Change>>> {
    let mut kept = Vec::new();
    for segment in segments {
        let here = batches.min(segment.len());
        kept.push(segment[..here].to_vec());
        batches -= here;
        if batches == 0 {
            break;
        }
    }
    kept
}

fn read(files: &[SegmentImage]) -> Result<Option<Held>, aumbry_storage::StorageError> {
    in_directory(|directory| {
        let wal = directory.join("wal");
        fs::create_dir(&wal).expect("a directory is made");
        for file in files {
            fs::write(wal.join(&file.name), &file.bytes).expect("a file is written");
        }
        held(directory)
    })
}

/// Room for the batches above.
const SEGMENT_BYTES: usize = 12 << 10;
