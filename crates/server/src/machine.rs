//! What a node tells of the machine that it runs on, to those who may know.

use serde_json::{Value, json};

use crate::lifecycle::Lifecycle;
use crate::logical::time;

/// The node and its machine, with nothing in the place of what the machine does not tell.
pub(crate) fn told(lifecycle: &Lifecycle) -> Value {
    json!({
        "timestamp": time(lifecycle.clock.wall().0),
        "host": {
            "hostname": line("/proc/sys/kernel/hostname"),
            "os": std::env::consts::OS,
            "kernelArch": std::env::consts::ARCH,
            "kernelVersion": line("/proc/sys/kernel/osrelease"),
            "uptime": line("/proc/uptime").split('.').next().and_then(|text| text.parse::<u64>().ok()),
        },
        "memory": { "total": memory("MemTotal:"), "available": memory("MemAvailable:") },
        "disk": [{ "free": lifecycle.space.free() }],
        "name": lifecycle.name(),
    })
}

fn line(path: &str) -> String {
    std::fs::read_to_string(path).unwrap_or_default().trim().to_owned()
}

/// So many bytes.
fn memory(name: &str) -> Option<u64> {
    let text = line("/proc/meminfo");
    let row = text.lines().find_map(|row| row.strip_prefix(name))?;
    let kib: u64 = row.trim().strip_suffix(" kB")?.parse().ok()?;
    Some(kib * 1_024)
}
