//! A long export is never in memory.

use std::io::Write as _;
use std::process::{Command, Stdio};

use aumbry_audit::export::Content;
use aumbry_audit::{Leaf, Outcome, clear_commitment};

use crate::support::{Log, PROGRAM};

/// The export is made as it is read, a gibibyte through a pipe, so there is no file that the kernel could keep. What the
/// program ever held is asked of the kernel while it waits for the last line.
#[test]
fn a_gibibyte_is_verified_in_the_memory_of_a_few_lines() {
    let mut log = Log::new("main");
    let mut child = Command::new(PROGRAM)
        .args(["export", "-", "--fingerprint", &log.fingerprint()])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("the program runs");
    let mut input = child.stdin.take().expect("its input is a pipe");
    let mut written = 0;
    let mut put = |text: &str| {
        written += text.len();
        input.write_all(text.as_bytes()).expect("the program reads");
        written
    };
    let _ = put(&log.header());
    // As some records are long, and the shorter a line, the longer the test.
    let clear = vec![b'x'; 512 << 10];
    for seq in 0.. {
        let line = if seq % 16 == 0 {
            log.next()
        } else {
            let leaf = Leaf {
                seq,
                index: seq + 1,
                k: 0,
                log_time: 1_700_000_000_000 + seq,
                outcome: Outcome::Clear,
                commitment: clear_commitment(&clear),
            };
            log.push(&leaf, &Content::Clear(clear.clone()))
        };
        if put(&line) > 1 << 30 {
            break;
        }
    }
    // What does not fit into the pipe was read before the write returned.
    let status = std::fs::read_to_string(format!("/proc/{}/status", child.id())).expect("it still reads");
    let most = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let most = most.and_then(|line| line.trim().trim_end_matches(" kB").parse::<u64>().ok());
    let most = most.expect("the kernel counts in kB");
    let _ = put(&log.checkpoint());
    drop(input);
    let output = child.wait_with_output().expect("it ends");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
    assert!(most < MOST_KIB, "{most} KiB for an export of a gibibyte");
}

/// A line of at most 4 MiB, parsed, built again and compared, and the program itself.
const MOST_KIB: u64 = 64 << 10;
