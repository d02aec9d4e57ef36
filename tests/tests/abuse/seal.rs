//! The seal under attack, and under load.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use anyhow::{Context as _, Result, ensure};
use aumbry_client::v1;
use aumbry_tests::{Cluster, eventually};
use aumbry_types::SecretBytes;
use futures::future::join_all;

use crate::bed::{get, put};

/// Thousands of wrong shares cost no memory and lock nobody out: the right ones open the node among them.
#[tokio::test(flavor = "multi_thread")]
async fn abuse_052_wrong_shares_lock_nobody_out() -> Result<()> {
    let cluster = Cluster::start(1)?;
    let root = cluster.client_on(1)?;
    root.call(v1::SealRequest::default()).await?;
    let node = cluster.node(1)?;
    let before = resident_kib(node.pid)?;
    let wrong = |n: usize| {
        let mut text = cluster.shares()[n % 5].clone().into_bytes();
        let at = text.len() - 1 - n % 60;
        text[at] = if text[at] == b'7' { b'8' } else { b'7' };
        SecretBytes::new(text)
    };
    for round in 0..20 {
        let tries = (0..100).map(|n| {
            let share = wrong(round * 100 + n);
            let root = root.clone();
            async move { root.unseal(None, share).await }
        });
        let answers = join_all(tries).await;
        ensure!(answers.iter().all(Result::is_err), "a wrong share was taken");
    }
    let status = root.seal_status(None).await?;
    ensure!(status.sealed && status.progress == 0, "a wrong share counts");
    let grown = resident_kib(node.pid)?.saturating_sub(before);
    ensure!(grown < 64 << 10, "{grown} KiB more for shares that were refused");
    let stop = Arc::new(AtomicBool::new(false));
    let flood = {
        let (root, stop) = (root.clone(), Arc::clone(&stop));
        let share = wrong(0);
        tokio::spawn(async move {
            while !stop.load(Ordering::SeqCst) {
                let _ = root.unseal(None, share.duplicate()).await;
            }
        })
    };
    let opened = cluster.unseal(1).await;
    stop.store(true, Ordering::SeqCst);
    flood.await?;
    opened?;
    ensure!(!root.seal_status(None).await?.sealed);
    Ok(())
}

/// Once the call that seals a node was answered, nothing that is asked of this node gets an answer: not what waits, not what comes.
#[tokio::test(flavor = "multi_thread")]
async fn abuse_059_after_the_seal_nothing_leaves() -> Result<()> {
    let cluster = Cluster::start(3)?;
    cluster.client()?.call(put("secret/a059", r#"{"a":1}"#)).await?;
    for node in cluster.nodes() {
        let is_sealed = Arc::new(AtomicBool::new(false));
        let stop = Arc::new(AtomicBool::new(false));
        let (read, late) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicU64::new(0)));
        let mut readers = Vec::new();
        for _ in 0..16 {
            let client = cluster.client_on(node.id)?;
            let (is_sealed, stop) = (Arc::clone(&is_sealed), Arc::clone(&stop));
            let (read, late) = (Arc::clone(&read), Arc::clone(&late));
            readers.push(tokio::spawn(async move {
                while !stop.load(Ordering::SeqCst) {
                    // What was asked before may be on its way to us; what is asked after may not come.
                    let was_sealed = is_sealed.load(Ordering::SeqCst);
                    if client.call(get("secret/a059")).await.is_ok() {
                        read.fetch_add(1, Ordering::SeqCst);
                        late.fetch_add(u64::from(was_sealed), Ordering::SeqCst);
                    }
                }
            }));
        }
        let count = || read.load(Ordering::SeqCst);
        eventually("the readers read", || async { count() > 200 }).await?;
        let sealer = cluster.client_on(node.id)?;
        sealer.call(v1::SealRequest::default()).await?;
        is_sealed.store(true, Ordering::SeqCst);
        ensure!(sealer.seal_status(None).await?.sealed);
        for _ in 0..100 {
            let refused = sealer
                .call(get("secret/a059"))
                .await
                .err()
                .context("a sealed node answered")?;
            ensure!(refused.reason() == "SEALED", "{refused}");
        }
        stop.store(true, Ordering::SeqCst);
        for reader in readers {
            reader.await?;
        }
        let late = late.load(Ordering::SeqCst);
        ensure!(late == 0, "node {} answered {late} times after it was sealed", node.id);
        cluster.unseal(node.id).await?;
    }
    Ok(())
}

/// How much memory a process has in the machine's.
pub(crate) fn resident_kib(process: u32) -> Result<u64> {
    let status = std::fs::read_to_string(format!("/proc/{process}/status"))?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let digits = line.context("the process has memory")?.trim().trim_end_matches(" kB");
    Ok(digits.parse()?)
}
