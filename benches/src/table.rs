//! The figures as a table for people.

use serde_json::Value;

/// The names of the columns.
pub(crate) fn head() -> String {
    line(
        [
            "part",
            "mix",
            "keys",
            "in flight",
            "offered/s",
            "rate/s",
            "p50 ms",
            "p99 ms",
            "p99.9 ms",
        ]
        .map(str::to_owned),
        ["CPU us", "generator us", "fdatasync", "bytes", "failed"].map(str::to_owned),
    )
}

/// One run.
pub(crate) fn row(row: &Value) -> String {
    let text = |key: &str| row[key].as_str().unwrap_or_default().to_owned();
    let number = |key: &str, digits: usize| {
        row[key]
            .as_f64()
            .map_or_else(|| "-".to_owned(), |n| format!("{n:.digits$}"))
    };
    line(
        [
            text("part"),
            text("mix"),
            number("keys", 0),
            number("concurrency", 0),
            number("offered_rate", 0),
            number("rate", 0),
            number("p50_ms", 2),
            number("p99_ms", 2),
            number("p999_ms", 2),
        ],
        [
            number("cpu_us_per_request", 1),
            number("generator_cpu_us_per_request", 1),
            number("fdatasync_per_request", 3),
            number("write_bytes_per_request", 0),
            number("error_count", 0),
        ],
    )
}

fn line(load: [String; 9], cost: [String; 5]) -> String {
    let [part, mix, numbers @ ..] = load;
    let numbers: String = numbers.iter().map(|cell| format!("{cell:>10}")).collect();
    let costs: String = cost.iter().map(|cell| format!("{cell:>13}")).collect();
    format!("{part:<17}{mix:<6}{numbers}{costs}")
}
