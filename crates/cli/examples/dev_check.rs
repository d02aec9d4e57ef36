//! check
#[path = "../src/dev/mod.rs"]
mod dev;

use clap::Parser;
#[derive(Parser)]
enum C { Dev(dev::DevArgs), Server { #[arg(long)] config: std::path::PathBuf } }
fn main() -> anyhow::Result<()> { match C::parse() { C::Dev(d) => dev::run(d), C::Server { config } => Ok(aumbry_server::run(aumbry_server::config::Config::load(&config)?)?) } }
