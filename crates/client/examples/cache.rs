//! Secrets that are read very often, and a connection that is made anew when its password changes.
//!
//! ```sh
//! export AUMBRY_ADDR=127.0.0.1:8200 AUMBRY_CACERT=ca.pem AUMBRY_TOKEN=...
//! cargo run --example cache
//! ```

use std::error::Error;
use std::time::Duration;

use aumbry_client::{Bounds, Cache, Client, Watch};
use aumbry_types::SecretBytes;

/// Reads a password so many times, and asks for it once; then waits until it is another. Gives the two versions.
pub(crate) async fn run(client: &Client, path: &str, times: usize) -> Result<(u64, u64), Box<dyn Error>> {
    let bounds = Bounds {
        fresh: Duration::from_secs(60),
        stale: Duration::from_secs(600),
        ..Bounds::default()
    };
    let cache = Cache::new(client, bounds);
    let mut watch = Watch::new(client, path, Duration::from_secs(1));
    watch.changed().await?;
    let mut first = 0;
    for _ in 0..times {
        let secret = cache.get(path).await?;
        // It is wiped as soon as nobody holds it.
        let _password = secret.text("password");
        first = secret.version();
    }
    watch.changed().await?;
    cache.forget(path);
    Ok((first, cache.get(path).await?.version()))
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let variable = |name: &str| std::env::var(name).map_err(|_| format!("{name} is not set"));
    let client = Client::builder()
        .endpoints(variable("AUMBRY_ADDR")?.split(',').map(str::to_owned))
        .ca_pem(std::fs::read(variable("AUMBRY_CACERT")?)?)
        .token(SecretBytes::from(variable("AUMBRY_TOKEN")?))
        .build()?;
    let (first, second) = run(&client, "secret/app", 1_000).await?;
    tell(first, second);
    Ok(())
}

#[expect(clippy::print_stderr, reason = "an example tells what it did")]
fn tell(first: u64, second: u64) {
    eprintln!("secret/app went from version {first} to version {second}");
}
