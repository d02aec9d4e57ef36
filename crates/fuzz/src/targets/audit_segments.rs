//! The files of the audit, after damage: up to what was applied all is there as it was written, or it is refused.

use std::fs;
use std::path::Path;
use std::sync::LazyLock;

use aumbry_storage::AuditSegments;

use super::{audit_body, in_directory};
use crate::{Choices, Target, Verdict};

pub(super) static TARGET: Target = Target {
    name: "audit_segments",
    seeds,
    run,
    bombs: Vec::new,
    input_bytes_max: 64,
    smoke: 1_500,
    ..Target::USUAL
};

/// The bodies, and the one file that holds them.
static WRITTEN: LazyLock<(Vec<Vec<u8>>, Vec<u8>)> = LazyLock::new(|| {
    let bodies = audit_body::samples();
    let encoded: Vec<Vec<u8>> = bodies.iter().map(|body| body.encode()).collect();
    let file = in_directory(|directory| {
        let segments = AuditSegments::open(directory, None).expect("an empty audit opens");
        let numbered = bodies
            .iter()
            .zip(&encoded)
            .map(|(body, bytes)| (body.index, body.first_seq, bytes.clone()));
        segments.append(&numbered.collect::<Vec<_>>());
        segments.sync();
        drop(segments);
        fs::read(segment(directory)).expect("the first segment is there")
    });
    (encoded, file)
});

fn segment(directory: &Path) -> std::path::PathBuf {
    let first = fs::read_dir(directory.join("1"))
        .expect("the first generation is there")
        .flatten()
        .next();
    first.expect("it has a segment").path()
}

fn seeds() -> Vec<Vec<u8>> {
    vec![
        vec![4],
        vec![2],
        vec![3, 0, 0, 200, 1],
        vec![1, 200, 1, 0],
        vec![4, 150, 0, 60, 9],
    ]
}

/// Up to where entries were applied; then damages: which, where, what with.
fn run(input: &[u8]) -> Verdict {
    let mut choices = Choices::new(input);
    let (bodies, file) = &*WRITTEN;
    let applied = 1 + choices.below(bodies.len());
    let mut bytes = file.clone();
    while !choices.is_empty() {
        let (kind, at) = (choices.byte(), usize::from(choices.u16()) % file.len());
        match kind {
            0..=149 => {
                if let Some(byte) = bytes.get_mut(at) {
                    *byte ^= choices.byte();
                }
            }
            150..=199 => {
                let end = (at + 1 + usize::from(choices.byte())).min(bytes.len());
                if at < end {
                    bytes[at..end].fill(0);
                }
            }
            200..=229 => bytes.truncate(at),
            _ => bytes.extend([choices.byte(); 40]),
        }
    }
    let name = name();
    in_directory(|directory| {
        let generation = directory.join("1");
        fs::create_dir(&generation).expect("a directory is made");
        fs::write(directory.join("CURRENT"), "1\n").expect("a file is written");
        fs::write(generation.join(name), &bytes).expect("a file is written");
        let Ok(segments) = AuditSegments::open(directory, Some(applied as u64)) else {
            return Verdict::Refused;
        };
        assert!(
            segments.read(0, usize::MAX) == bodies[..applied],
            "the audit was shortened or changed silently"
        );
        Verdict::Accepted
    })
}

/// The name of the first segment.
fn name() -> &'static str {
    static NAME: LazyLock<String> = LazyLock::new(|| {
        in_directory(|directory| {
            let segments = AuditSegments::open(directory, None).expect("an empty audit opens");
            segments.append(&[(1, 0, b"body".to_vec())]);
            segments.sync();
            drop(segments);
            segment(directory)
                .file_name()
                .expect("a file has a name")
                .to_string_lossy()
                .into_owned()
        })
    });
    &NAME
}
