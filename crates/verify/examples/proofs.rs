//! What a proof costs a server: `proofs [RECORDS]` makes the hashes that are kept for a log of so many records, a million by default, and
//! times proofs from them. Tiles are read from files as a server reads them; the leaves of a tile are hashed from encoded bodies of one
//! record of 900 bytes each, as a quiet cluster has them, which is the dearest case.

use std::fs::File;
use std::io::{self, Write as _};
use std::os::unix::fs::FileExt as _;
use std::time::Instant;

use aumbry_audit::proof::{Stored, TILE, root_of};
use aumbry_audit::{Body, Leaf, Outcome};

const RECORD_BYTES: usize = 900;
const PROOFS: u64 = 1_000;

fn leaf(seq: u64) -> Leaf {
    Leaf {
        seq,
        index: seq + 1,
        k: 0,
        log_time: 1_700_000_000_000 + seq,
        outcome: Outcome::Ok,
        commitment: [7; 32],
    }
}

fn body(seq: u64) -> Vec<u8> {
    let leaf = leaf(seq);
    let body = Body {
        index: leaf.index,
        term: 1,
        first_seq: seq,
        log_time: leaf.log_time,
        wall_time: leaf.log_time,
        leaves: vec![(0, leaf.outcome, leaf.commitment)],
        clear: Vec::new(),
        blob: vec![9; RECORD_BYTES],
    };
    body.encode()
}

/// The hashes of the leaves of a tile, as a server has them: from its bodies.
fn leaves(first: u64, count: u64) -> Vec<[u8; 32]> {
    let bodies = (first..first + count).map(body);
    let hashes = bodies.filter_map(|bytes| Some(Body::decode(&bytes)?.leaves().next()?.hash()));
    hashes.collect()
}

fn main() -> io::Result<()> {
    let records: u64 = std::env::args()
        .nth(1)
        .and_then(|text| text.parse().ok())
        .unwrap_or(1_000_000);
    let folder = std::env::temp_dir().join(format!("aumbry-proofs-{}", std::process::id()));
    std::fs::create_dir(&folder)?;
    let began = Instant::now();
    let mut below: Vec<[u8; 32]> = (0..records / TILE)
        .map(|tile| root_of(&leaves(tile * TILE, TILE)))
        .collect();
    let made = began.elapsed();
    let (mut files, mut bytes) = (Vec::new(), 0);
    while !below.is_empty() {
        let path = folder.join(format!("tier-{}", files.len() + 1));
        std::fs::write(&path, below.as_flattened())?;
        bytes += below.len() * 32;
        files.push(File::open(path)?);
        below = below.chunks_exact(256).map(root_of).collect();
    }
    let read = |tier: u32, tile: u64, count: u64| -> io::Result<Vec<[u8; 32]>> {
        if tier == 0 {
            return Ok(leaves(tile * TILE, count));
        }
        let mut bytes = vec![0; usize::try_from(count).unwrap_or_default() * 32];
        let file = files.get(tier as usize - 1).ok_or(io::ErrorKind::NotFound)?;
        file.read_exact_at(&mut bytes, tile * TILE * 32)?;
        Ok(bytes.as_chunks::<32>().0.to_vec())
    };
    let mut times = Vec::new();
    for number in 0..PROOFS {
        // Scattered over the log.
        let seq = number.wrapping_mul(0x9e37_79b9_7f4a_7c15) % records;
        let began = Instant::now();
        let mut stored = Stored::new(records, read);
        let proof = stored.inclusion(seq, records)?.ok_or(io::ErrorKind::NotFound)?;
        let (leaf, root) = (stored.leaf(seq)?, stored.root(records)?);
        let is_right = leaf.zip(root).is_some_and(|(leaf, root)| proof.verify(&leaf, &root));
        times.push(began.elapsed());
        assert!(is_right, "record {seq} is proved");
    }
    times.sort_unstable();
    let at = |part: usize| times.get(times.len() * part / 100).copied().unwrap_or_default();
    let mut out = io::stdout();
    writeln!(
        out,
        "records {records}; hashes made in {made:.1?}, from bodies in memory"
    )?;
    writeln!(out, "bytes kept {bytes}, {:.3} a record", bytes as f64 / records as f64)?;
    writeln!(
        out,
        "a proof, found and verified: half {:.2?}, 99 of 100 {:.2?}",
        at(50),
        at(99)
    )?;
    std::fs::remove_dir_all(folder)
}
