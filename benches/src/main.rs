//! The matrix of figures: three real nodes on this machine, asked by `aumbry bench`.
//!
//! Absolute figures depend on the machine and on what else runs on it; CPU per request and fdatasyncs per request are steady. Each
//! figure comes with the guarantee of the store that gave it: linearizable, and on record at a quorum before the reply.

mod failover;
mod kills;
mod matrix;
mod plots;
mod subject;
mod svg;
mod table;

use std::io::Write as _;
use std::path::PathBuf;

use anyhow::{Context as _, Result};
use clap::{Parser, Subcommand};
use serde_json::{Value, json};

use crate::subject::Subject;

/// Measure a cluster of three nodes on this machine.
#[derive(Parser)]
#[command(name = "cargo xtask bench", args_conflicts_with_subcommands = true)]
struct Args {
    #[command(subcommand)]
    part: Option<Part>,
    /// Fewer points, and shorter
    #[arg(long)]
    quick: bool,
    /// The data size of a million secrets too; writing them takes a quarter of an hour
    #[arg(long)]
    large: bool,
    /// How often the leader is killed; 7 by default, none with --quick
    #[arg(long)]
    kills: Option<usize>,
    /// Kill the leader while others read and write
    #[arg(long)]
    kills_under_load: bool,
    /// How the generator reaches the nodes: sdk or http2
    #[arg(long, default_value = "sdk")]
    channel: String,
    /// Write all figures into this file
    #[arg(long, global = true)]
    json: Option<PathBuf>,
    /// Draw plots into this directory
    #[arg(long)]
    plots: Option<PathBuf>,
    /// Measure nothing: take the figures of this file, and draw
    #[arg(long, requires = "plots")]
    from: Option<PathBuf>,
}

/// A part of the figures that is measured for itself.
#[derive(Subcommand)]
enum Part {
    /// How long no write is acknowledged when the leader is killed, or hands over, under load
    Failover(kills::Plan),
}

fn main() -> Result<()> {
    let args = Args::parse();
    let runtime = || tokio::runtime::Builder::new_current_thread().enable_all().build();
    let figures = match (&args.part, &args.from) {
        (Some(Part::Failover(plan)), _) => {
            let failover = runtime()?.block_on(kills::measure(plan))?;
            json!({ "guarantee": GUARANTEE, "machine": machine(), "failover": failover })
        }
        (None, Some(file)) => {
            let text = std::fs::read(file).with_context(|| format!("cannot read {}", file.display()))?;
            serde_json::from_slice(&text).with_context(|| format!("{} holds no figures", file.display()))?
        }
        (None, None) => runtime()?.block_on(measure(&args))?,
    };
    if let Some(file) = &args.json {
        let text = serde_json::to_string_pretty(&figures)? + "\n";
        std::fs::write(file, text).with_context(|| format!("cannot write {}", file.display()))?;
        say(&format!("figures: {}", file.display()))?;
    }
    if let Some(directory) = &args.plots {
        for file in plots::draw(&figures, directory)? {
            say(&format!("plot: {}", file.display()))?;
        }
    }
    Ok(())
}

async fn measure(args: &Args) -> Result<Value> {
    let subject = Subject::start(&args.channel).await?;
    let size = if args.quick {
        matrix::Size::QUICK
    } else {
        matrix::Size::FULL
    };
    let size = if args.large { size.with_a_million() } else { size };
    say(GUARANTEE)?;
    let rows = matrix::measure(&subject, &size).await?;
    let kills = args
        .kills
        .unwrap_or(if args.quick { 0 } else { failover::KILLS_DEFAULT });
    let around = if args.kills_under_load {
        failover::Around::Load
    } else {
        failover::Around::Quiet
    };
    let failover = failover::measure(&subject, kills, around).await?;
    Ok(json!({
        "guarantee": GUARANTEE,
        "machine": machine(),
        "rows": rows,
        "failover": failover,
    }))
}

/// What the figures depend on.
fn machine() -> Value {
    let read = |path: &str| std::fs::read_to_string(path).unwrap_or_default();
    let cpu = read("/proc/cpuinfo");
    let model = cpu
        .lines()
        .find_map(|line| line.strip_prefix("model name")?.split_once(": "));
    json!({
        "processors": std::thread::available_parallelism().map_or(0, usize::from),
        "processor": model.map_or("", |(_, name)| name),
        "kernel": read("/proc/sys/kernel/osrelease").trim(),
        "load_average": read("/proc/loadavg").split(' ').next().and_then(|load| load.parse::<f64>().ok()),
    })
}

pub(crate) fn say(line: &str) -> Result<()> {
    writeln!(std::io::stdout().lock(), "{line}").context("standard output is closed")
}

const GUARANTEE: &str = "three nodes, TLS, a token with five policies; every request is linearizable, and its audit record is durable at \
a quorum before the reply; the generator is on the same machine";
