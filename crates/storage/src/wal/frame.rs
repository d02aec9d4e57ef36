//! How batches stand in a segment: frames of records, each byte of which a checksum covers.
//!
//! All checksums begin with the salt of the segment, so what a recycled file still holds, or what stood in another file, never counts. The frame's
//! own checksum covers its header; the header has a digest of the headers of its records; each of these has a checksum over itself and its content.
//! So each byte is summed up once, an entry can be read alone, and a frame of which a sector is missing or of an earlier try is not whole.

use bytes::Bytes;

use super::state::State;
use crate::log::Meta;

/// One change, as it is written.
#[derive(Debug, Clone, Copy)]
pub(super) enum Record<'a> {
    /// What the log was before the frame: the first record of each segment.
    State(&'a State),
    Entry(u64, &'a Bytes),
    /// All entries from an index on are gone.
    Truncate(u64),
    /// All entries up to an index are gone; the bytes are [`Meta::Purged`].
    Purge(u64, &'a Bytes),
    Meta(Meta, &'a Bytes),
}

impl Record<'_> {
    /// How many bytes it takes.
    pub(super) fn len(&self) -> usize {
        let content = match self {
            Self::State(state) => state.encoded_len(),
            Self::Entry(_, bytes) | Self::Purge(_, bytes) | Self::Meta(_, bytes) => bytes.len(),
            Self::Truncate(_) => 0,
        };
        RECORD_HEADER_BYTES + content
    }
}

/// A record as it was read.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Read {
    State(State),
    /// The index, where in the frame the record begins, and the size of its content.
    Entry {
        index: u64,
        offset: usize,
        size: usize,
    },
    Truncate(u64),
    Purge(u64, Bytes),
    Meta(Meta, Bytes),
}

/// Puts a frame together.
#[derive(Debug, Default)]
pub(super) struct Builder {
    bytes: Vec<u8>,
    seed: u32,
    digest: u32,
    records: u32,
}

impl Builder {
    /// Begins a frame for a segment with this salt. What was there is dropped, its memory is kept if it is not much.
    pub(super) fn begin(&mut self, salt: u64) {
        self.bytes.clear();
        self.bytes.shrink_to(KEPT_BYTES);
        self.bytes.resize(FRAME_HEADER_BYTES, 0);
        self.seed = seed(salt);
        self.digest = self.seed;
        self.records = 0;
    }

    /// Adds a record, and returns where in the frame it begins.
    pub(super) fn add(&mut self, record: Record<'_>) -> usize {
        let state;
        let (kind, number, content): (u32, u64, &[u8]) = match record {
            Record::State(full) => {
                state = full.encode();
                (STATE, 0, &state)
            }
            Record::Entry(index, bytes) => (ENTRY, index, bytes),
            Record::Truncate(from) => (TRUNCATE, from, &[]),
            Record::Purge(index, marker) => (PURGE, index, marker),
            Record::Meta(key, bytes) => (META, key as u64, bytes),
        };
        let offset = self.bytes.len();
        let header = record_header(self.seed, kind, number, content);
        self.digest = crc32c::crc32c_append(self.digest, &header);
        self.records += 1;
        self.bytes.extend_from_slice(&header);
        self.bytes.extend_from_slice(content);
        offset
    }

    /// Ends the frame; it fills whole sectors.
    pub(super) fn end(&mut self, batch: u64) -> &[u8] {
        let length =
            u32::try_from(self.bytes.len()).expect("a batch is bounded by the queue, which is far below 4 GiB");
        let mut header = [0; FRAME_HEADER_BYTES];
        header[..4].copy_from_slice(&FRAME_MAGIC);
        header[8..16].copy_from_slice(&batch.to_be_bytes());
        header[16..20].copy_from_slice(&length.to_be_bytes());
        header[20..24].copy_from_slice(&self.records.to_be_bytes());
        header[24..28].copy_from_slice(&self.digest.to_be_bytes());
        let checksum = crc32c::crc32c_append(self.seed, &header[8..]);
        header[4..8].copy_from_slice(&checksum.to_be_bytes());
        self.bytes[..FRAME_HEADER_BYTES].copy_from_slice(&header);
        self.bytes.resize(whole_sectors(self.bytes.len()), 0);
        &self.bytes
    }
}

/// The header of a frame whose own checksum is right.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Header {
    /// The number of the batch. It goes up by one with each, through all segments.
    pub(super) batch: u64,
    /// The size of the frame without what fills its last sector.
    pub(super) length: usize,
    records: u32,
    digest: u32,
}

/// The header at the beginning of the bytes, if there is one.
pub(super) fn header(bytes: &[u8], salt: u64) -> Option<Header> {
    let bytes = bytes.first_chunk::<FRAME_HEADER_BYTES>()?;
    let right = bytes.starts_with(&FRAME_MAGIC) && u32_at(bytes, 4) == crc32c::crc32c_append(seed(salt), &bytes[8..]);
    right.then(|| Header {
        batch: u64_at(bytes, 8),
        length: u32_at(bytes, 16) as usize,
        records: u32_at(bytes, 20),
        digest: u32_at(bytes, 24),
    })
}

/// The records of a frame, which begins with this header; none if it is not whole.
pub(super) fn records(frame: &[u8], header: &Header, salt: u64) -> Option<Vec<Read>> {
    let frame = frame.get(..header.length)?;
    let seed = seed(salt);
    let (mut at, mut digest) = (FRAME_HEADER_BYTES, seed);
    let mut records = Vec::new();
    while at < frame.len() {
        let content = record(&frame[at..], seed)?;
        digest = crc32c::crc32c_append(digest, &frame[at..at + RECORD_HEADER_BYTES]);
        let number = u64_at(&frame[at..], 12);
        records.push(match u32_at(&frame[at..], 4) {
            STATE => Read::State(State::decode(content)?),
            ENTRY => Read::Entry {
                index: number,
                offset: at,
                size: content.len(),
            },
            TRUNCATE => Read::Truncate(number),
            PURGE => Read::Purge(number, Bytes::copy_from_slice(content)),
            META => Read::Meta(Meta::from_number(number)?, Bytes::copy_from_slice(content)),
            _ => return None,
        });
        at += RECORD_HEADER_BYTES + content.len();
    }
    (digest == header.digest && records.len() == header.records as usize).then_some(records)
}

/// The content of the entry that the bytes are, if they are that entry's.
pub(super) fn entry(bytes: Bytes, index: u64, salt: u64) -> Option<Bytes> {
    let content = record(&bytes, seed(salt))?;
    let is_it =
        u32_at(&bytes, 4) == ENTRY && u64_at(&bytes, 12) == index && RECORD_HEADER_BYTES + content.len() == bytes.len();
    is_it.then(|| bytes.slice(RECORD_HEADER_BYTES..))
}

/// The content of the record at the beginning of the bytes, if its checksum is right.
fn record(bytes: &[u8], seed: u32) -> Option<&[u8]> {
    let header = bytes.first_chunk::<RECORD_HEADER_BYTES>()?;
    let content = bytes[RECORD_HEADER_BYTES..].get(..u32_at(header, 8) as usize)?;
    let checksum = crc32c::crc32c_append(crc32c::crc32c_append(seed, &header[4..]), content);
    (u32_at(header, 0) == checksum).then_some(content)
}

fn record_header(seed: u32, kind: u32, number: u64, content: &[u8]) -> [u8; RECORD_HEADER_BYTES] {
    let length = u32::try_from(content.len()).expect("a record is bounded by the queue, which is far below 4 GiB");
    let mut header = [0; RECORD_HEADER_BYTES];
    header[4..8].copy_from_slice(&kind.to_be_bytes());
    header[8..12].copy_from_slice(&length.to_be_bytes());
    header[12..20].copy_from_slice(&number.to_be_bytes());
    let checksum = crc32c::crc32c_append(crc32c::crc32c_append(seed, &header[4..]), content);
    header[..4].copy_from_slice(&checksum.to_be_bytes());
    header
}

/// Sets the checksums of the frame at the beginning of the bytes right, as far as its lengths allow, and returns its size in whole sectors.
/// None if there is none, or it is longer than the bytes. For the fuzzer, which has to get past them.
pub(super) fn mend(bytes: &mut [u8], salt: u64) -> Option<usize> {
    let length = u32_at(bytes.first_chunk::<FRAME_HEADER_BYTES>()?, 16) as usize;
    if !bytes.starts_with(&FRAME_MAGIC) || length < FRAME_HEADER_BYTES || length > bytes.len() {
        return None;
    }
    let seed = seed(salt);
    let (mut at, mut digest, mut records) = (FRAME_HEADER_BYTES, seed, 0_u32);
    while at + RECORD_HEADER_BYTES <= length {
        let end = at + RECORD_HEADER_BYTES + u32_at(&bytes[at..], 8) as usize;
        if end > length {
            break;
        }
        let checksum = crc32c::crc32c_append(seed, &bytes[at + 4..end]);
        bytes[at..at + 4].copy_from_slice(&checksum.to_be_bytes());
        digest = crc32c::crc32c_append(digest, &bytes[at..at + RECORD_HEADER_BYTES]);
        records += 1;
        at = end;
    }
    bytes[20..24].copy_from_slice(&records.to_be_bytes());
    bytes[24..28].copy_from_slice(&digest.to_be_bytes());
    let checksum = crc32c::crc32c_append(seed, &bytes[8..FRAME_HEADER_BYTES]);
    bytes[4..8].copy_from_slice(&checksum.to_be_bytes());
    Some(whole_sectors(length))
}

/// The size of a frame with records of this size in all, in whole sectors.
pub(super) const fn frame_len(records: usize) -> usize {
    whole_sectors(FRAME_HEADER_BYTES + records)
}

/// Rounded up to whole sectors.
pub(super) const fn whole_sectors(bytes: usize) -> usize {
    bytes.next_multiple_of(SECTOR_BYTES)
}

fn seed(salt: u64) -> u32 {
    crc32c::crc32c(&salt.to_be_bytes())
}

pub(super) fn u32_at(bytes: &[u8], at: usize) -> u32 {
    bytes[at..at + 4]
        .iter()
        .fold(0, |number, byte| number << 8 | u32::from(*byte))
}

pub(super) fn u64_at(bytes: &[u8], at: usize) -> u64 {
    bytes[at..at + 8]
        .iter()
        .fold(0, |number, byte| number << 8 | u64::from(*byte))
}

/// What a disk writes whole or not at all. A frame begins with one, so a torn write does not touch the frame before it.
pub(super) const SECTOR_BYTES: usize = 512;
pub(super) const RECORD_HEADER_BYTES: usize = 20;
const FRAME_HEADER_BYTES: usize = 32;
const FRAME_MAGIC: [u8; 4] = *b"aumb";
/// An usual batch; the memory of one that was larger is given back.
const KEPT_BYTES: usize = 1 << 20;
const STATE: u32 = 1;
const ENTRY: u32 = 2;
const TRUNCATE: u32 = 3;
const PURGE: u32 = 4;
const META: u32 = 5;

#[cfg(test)]
mod tests {
    use super::*;

    fn build(salt: u64) -> Vec<u8> {
        let bytes = Bytes::from_static(b"bytes");
        let state = State {
            votes: 3,
            ..State::default()
        };
        let mut builder = Builder::default();
        builder.begin(salt);
        builder.add(Record::State(&state));
        for record in [
            Record::Truncate(9),
            Record::Purge(4, &bytes),
            Record::Meta(Meta::Vote, &bytes),
            Record::Entry(9, &bytes),
        ] {
            builder.add(record);
        }
        builder.end(77).to_vec()
    }

    #[test]
    fn what_is_built_is_read() {
        let frame = build(5);
        assert_eq!(frame.len(), SECTOR_BYTES);
        let header = header(&frame, 5).unwrap();
        assert_eq!(header.batch, 77);
        let read = records(&frame, &header, 5).unwrap();
        let bytes = Bytes::from_static(b"bytes");
        assert!(matches!(&read[0], Read::State(state) if state.votes == 3));
        assert_eq!(
            read[1..4],
            [
                Read::Truncate(9),
                Read::Purge(4, bytes.clone()),
                Read::Meta(Meta::Vote, bytes.clone())
            ]
        );
        let Read::Entry {
            index: 9,
            offset,
            size: 5,
        } = read[4]
        else {
            panic!("{:?}", read[4])
        };
        let alone = Bytes::copy_from_slice(&frame[offset..offset + RECORD_HEADER_BYTES + 5]);
        assert_eq!(entry(alone.clone(), 9, 5).unwrap(), bytes);
        assert_eq!(entry(alone.clone(), 8, 5), None, "the entry of another index");
        assert_eq!(entry(alone, 9, 6), None, "the entry of another segment");
    }

    #[test]
    fn every_flip_and_every_other_salt_is_noticed() {
        let frame = build(5);
        let whole = header(&frame, 5).unwrap();
        assert_eq!(header(&frame, 6), None);
        for bit in 0..whole.length * 8 {
            let mut flipped = frame.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            let read = header(&flipped, 5).and_then(|header| records(&flipped, &header, 5));
            assert_eq!(read, None, "bit {bit}");
        }
        for length in 0..whole.length {
            let read = header(&frame[..length], 5).and_then(|header| records(&frame[..length], &header, 5));
            assert_eq!(read, None, "cut at {length}");
        }
    }

    /// A batch that was torn may be written again with other content: sectors of both tries give no frame.
    #[test]
    fn sectors_of_two_tries_are_no_frame() {
        let mut builder = Builder::default();
        let mut build = |fill: u8| {
            builder.begin(1);
            for index in 0..4 {
                builder.add(Record::Entry(index, &Bytes::from(vec![fill; 492])));
            }
            builder.end(3).to_vec()
        };
        let (first, second) = (build(1), build(2));
        for mix in 1..15 {
            let sectors = first.chunks(SECTOR_BYTES).zip(second.chunks(SECTOR_BYTES));
            let mixed: Vec<u8> = sectors
                .enumerate()
                .flat_map(|(n, (one, two))| if mix >> n & 1 == 0 { one } else { two })
                .copied()
                .collect();
            let read = header(&mixed, 1).and_then(|header| records(&mixed, &header, 1));
            assert!(read.is_none() || mixed == first || mixed == second, "mix {mix:b}");
        }
    }

    /// Frozen.
    #[test]
    fn a_frame_of_the_first_build_is_read() {
        let mut builder = Builder::default();
        builder.begin(0x0102_0304_0506_0708);
        builder.add(Record::Entry(7, &Bytes::from_static(b"seven")));
        let frame = builder.end(9);
        let hex: String = frame[..57].iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(hex, FROZEN);
    }

    const FROZEN: &str = "61756d62e183e32500000000000000090000003900000001ab08594f00000000\
        3491418800000002000000050000000000000007736576656e";
}
