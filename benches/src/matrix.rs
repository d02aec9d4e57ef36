//! Which points are measured.

use anyhow::{Context as _, Result};
use serde_json::{Value, json};

use crate::say;
use crate::subject::Subject;
use crate::table;

/// How much is measured.
pub(crate) struct Size {
    seconds: u32,
    in_flight: &'static [usize],
    data: Vec<u64>,
}

impl Size {
    pub(crate) const QUICK: Self = Self {
        seconds: 2,
        in_flight: &[1, 64],
        data: Vec::new(),
    };
    pub(crate) const FULL: Self = Self {
        seconds: 8,
        in_flight: &[1, 8, 64, 256],
        data: Vec::new(),
    };

    /// With the largest data set too.
    pub(crate) fn with_a_million(mut self) -> Self {
        self.data.push(1_000_000);
        self
    }

    fn data(&self) -> Vec<u64> {
        let small: &[u64] = if self.seconds < 5 {
            &[1_000, 10_000]
        } else {
            &[1_000, 10_000, 100_000]
        };
        small.iter().chain(&self.data).copied().collect()
    }

    fn duration(&self) -> String {
        format!("{}s", self.seconds)
    }
}

/// One run.
struct Point<'a> {
    part: &'static str,
    mix: &'a str,
    in_flight: usize,
    rate: Option<f64>,
    keys: u64,
}

impl Point<'_> {
    async fn measure(&self, subject: &Subject, size: &Size) -> Result<Value> {
        let mut line = vec![
            format!("--mix={}", self.mix),
            format!("--concurrency={}", self.in_flight),
            format!("--keys={}", self.keys),
            format!("--path={}", directory(self.keys)),
            format!("--duration={}", size.duration()),
        ];
        line.extend(self.rate.map(|rate| format!("--rate={rate:.1}")));
        let mut row = subject.bench(&line).await?;
        row["part"] = json!(self.part);
        say(&table::row(&row))?;
        Ok(row)
    }
}

/// Measures all; each row is a report of `aumbry bench` with the part of the matrix that it is of.
pub(crate) async fn measure(subject: &Subject, size: &Size) -> Result<Vec<Value>> {
    prepare(subject, KEYS).await?;
    say(&table::head())?;
    let mut rows = Vec::new();
    for mix in MIXES {
        for in_flight in size.in_flight {
            let point = Point {
                part: "closed",
                mix,
                in_flight: *in_flight,
                rate: None,
                keys: KEYS,
            };
            rows.push(point.measure(subject, size).await?);
        }
    }
    for mix in ["read", "write", "mixed"] {
        let most = most(&rows, mix).context("the closed loop was measured")?;
        for (part, share) in SHARES {
            let point = Point {
                part,
                mix,
                in_flight: IN_FLIGHT_OPEN,
                rate: Some(most * share),
                keys: KEYS,
            };
            rows.push(point.measure(subject, size).await?);
        }
    }
    growth(subject, size, &mut rows).await?;
    Ok(rows)
}

/// The same load on more and more data: as much as it takes, and at one rate for all sizes.
async fn growth(subject: &Subject, size: &Size, rows: &mut Vec<Value>) -> Result<()> {
    let rates: Vec<Option<f64>> = ["read", "write"]
        .map(|mix| most(rows, mix).map(|most| most / 2.0))
        .to_vec();
    for keys in size.data() {
        if keys != KEYS {
            prepare(subject, keys).await?;
        }
        for (mix, common) in ["read", "write"].into_iter().zip(&rates) {
            for (part, rate) in [("size", None), ("size at one rate", *common)] {
                let point = Point {
                    part,
                    mix,
                    in_flight: if rate.is_some() { IN_FLIGHT_OPEN } else { IN_FLIGHT },
                    rate,
                    keys,
                };
                rows.push(point.measure(subject, size).await?);
            }
        }
    }
    Ok(())
}

async fn prepare(subject: &Subject, keys: u64) -> Result<()> {
    say(&format!("writing {keys} secrets of 1 KiB"))?;
    let line = [
        "--prepare".to_owned(),
        "--duration=0".to_owned(),
        format!("--keys={keys}"),
        format!("--path={}", directory(keys)),
    ];
    subject.bench(&line).await.map(drop)
}

/// Each size has its own, so that lists differ; what was written before stays as ballast.
fn directory(keys: u64) -> String {
    format!("secret/bench-{keys}")
}

/// The highest rate of a mix in the closed loop.
fn most(rows: &[Value], mix: &str) -> Option<f64> {
    let of_mix = rows.iter().filter(|row| row["part"] == "closed" && row["mix"] == mix);
    of_mix.filter_map(|row| row["rate"].as_f64()).max_by(f64::total_cmp)
}

const MIXES: [&str; 5] = ["read", "write", "mixed", "list", "token"];
const KEYS: u64 = 1_000;
const IN_FLIGHT: usize = 64;
/// Enough that an open loop waits for none of them, and more than a node serves at once.
const IN_FLIGHT_OPEN: usize = 1_024;
/// Of the highest rate. The last shows what becomes of a load that nobody can serve.
const SHARES: [(&str, f64); 3] = [("half", 0.5), ("four fifths", 0.8), ("overload", 2.0)];
