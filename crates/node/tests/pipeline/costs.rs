//! How often the road asks for memory, from plan to reply, on the in-memory consensus. A ceiling here may only go down.

use allocation_counter::measure;

use crate::bed::*;

#[test]
fn allocations_have_a_ceiling() {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime");
    let bed = runtime.block_on(Bed::open());
    let value = format!("{{\"k\":\"{}\"}}", "x".repeat(1_000));
    let one = |operation: fn(&str) -> Operation| {
        let mut counts: Vec<u64> = (0..SAMPLES)
            .map(|_| {
                let request = bed.request(&bed.root, operation(&value), "");
                measure(|| drop(runtime.block_on(bed.node.serve(&request)))).count_total
            })
            .collect();
        counts.sort_unstable();
        counts[SAMPLES / 2]
    };
    let write = one(|value| put("secret/app/db", value, None));
    let read = one(|_| get("secret/app/db"));
    assert!(write <= WRITE_MAX, "a write asks for memory {write} times");
    assert!(read <= READ_MAX, "a read asks for memory {read} times");
    // The control: something is counted.
    assert!(write > 20 && read > 20, "write {write}, read {read}");
}

const SAMPLES: usize = 31;
const WRITE_MAX: u64 = 204;
const READ_MAX: u64 = 134;
