//! Writes an export of so many records to standard output, to measure with: `sample RECORDS > FILE`.

use std::error::Error;
use std::io::{BufWriter, Write as _};

use aumbry_audit::export::{Content, Header, Unverified, checkpoint_line, header_line, leaf_line};
use aumbry_audit::{Checkpoint, Decision, Field, Frontier, Leaf, Outcome, Principal, Record, commitment};
use aumbry_crypto::signature::SigningKey;
use aumbry_types::{RequestId, SecretKey, StorageId, hex};

fn main() -> Result<(), Box<dyn Error>> {
    let records: u64 = std::env::args().nth(1).ok_or("usage: sample RECORDS > FILE")?.parse()?;
    let key = SigningKey::from_seed(&SecretKey::take(&mut [7; 32]));
    let storage_id = StorageId::from_bytes([1; 16]);
    let mut tree = Frontier::new();
    let mut out = BufWriter::new(std::io::stdout().lock());
    let header = Header {
        storage_id,
        origin: Checkpoint::origin_of(&storage_id),
        start: tree.clone(),
    };
    out.write_all(header_line(&header).as_bytes())?;
    for seq in 0..records {
        let record = record(seq).encode();
        let mut salt = [0; 16];
        salt[..8].copy_from_slice(&seq.to_be_bytes());
        let leaf = Leaf {
            seq,
            index: seq + 1,
            k: 0,
            log_time: 1_700_000_000_000 + seq,
            outcome: Outcome::Ok,
            commitment: commitment(&storage_id, &salt, &record),
        };
        tree.push(leaf.hash());
        let unverified = Unverified {
            term: 1,
            wall_time: leaf.log_time,
        };
        let line = leaf_line(&leaf, &Content::Record { record, salt }, unverified).ok_or("a line is too long")?;
        out.write_all(line.as_bytes())?;
    }
    let note = Checkpoint::new(&storage_id, &tree).sign(&key)?;
    out.write_all(checkpoint_line(&note, key.verifying_key()).as_bytes())?;
    out.flush()?;
    let fingerprint = hex::encode(&key.verifying_key().fingerprint());
    writeln!(std::io::stderr(), "{fingerprint}")?;
    Ok(())
}

/// A read, as a service makes it.
fn record(seq: u64) -> Record {
    let mut id = [0; 16];
    id[..8].copy_from_slice(&seq.to_be_bytes());
    Record {
        request_id: RequestId::from_bytes(id),
        attempt: 1,
        operation: "kv.get".into(),
        path: format!("secret/app/{seq}"),
        principal: Some(Principal {
            accessor: "acc1".into(),
            display_name: "ci".into(),
            policies: vec!["app".into(), "default".into()],
            entity: None,
        }),
        decision: Decision::Allowed,
        reason: String::new(),
        deciding_policies: vec!["app".into()],
        rule: "secret/app/*".into(),
        client: "10.0.0.7:51000".into(),
        tls_identity: String::new(),
        node: 2,
        leader: 1,
        region: "eu".into(),
        fields: vec![("version".into(), Field::Clear("3".into()))],
        response: Some([0xef; 16]),
        count: 1,
    }
}
