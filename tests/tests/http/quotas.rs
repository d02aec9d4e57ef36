//! Rate limits on three nodes: they hold wherever a request comes in.

use anyhow::{Result, ensure};
use aumbry_tests::{Cluster, records};
use serde_json::{Value, json};

use crate::bed::{Http, done};

/// So many requests as a quota allows are served, over all nodes; the others are told when to come again, and a flood of them does not fill the audit log.
#[tokio::test(flavor = "multi_thread")]
async fn a_quota_holds_over_all_nodes() -> Result<()> {
    let cluster = Cluster::start(3)?;
    let root = Http::root(&cluster)?;
    for name in ["limited", "free"] {
        done(&root, "POST", &format!("secret/data/{name}"), json!({ "data": {} })).await?;
    }
    // An hour for three: nothing comes back while the test runs.
    let quota = json!({ "path": "secret/data/limited", "rate": 3, "interval": "1h" });
    done(&root, "POST", "sys/quotas/rate-limit/few", quota).await?;
    let told = done(&root, "GET", "sys/quotas/rate-limit/few", Value::Null).await?["data"].clone();
    ensure!(
        told["rate"] == 3.0 && told["interval"] == 3_600 && told["group_by"] == "ip",
        "{told}"
    );
    let token = cluster.root_token();
    let token = token.expose_str().unwrap_or_default();
    let mut codes = Vec::new();
    for turn in 0..60 {
        let http = Http::on(&cluster, turn % 3, token)?;
        let answer = http.ask("GET", "secret/data/limited", &Value::Null).await?;
        if answer.code == 429 {
            let hint = answer.head.lines().find_map(|line| line.strip_prefix("retry-after:"));
            let seconds: u64 = hint.map_or(Ok(0), |hint| hint.trim().parse())?;
            ensure!(
                (1_000..=1_200).contains(&seconds),
                "a third of an hour: {}",
                answer.head
            );
        }
        codes.push(answer.code);
        ensure!(http.ask("GET", "secret/data/free", &Value::Null).await?.code == 200);
    }
    let served = codes.iter().filter(|code| **code == 200).count();
    ensure!(
        served == 3 && codes[..3] == [200; 3] && codes[3..].iter().all(|code| *code == 429),
        "{codes:?}"
    );
    let recorded = records(&cluster.client()?).await?;
    let refused = recorded
        .iter()
        .filter(|record| record.text("reason") == "QUOTA_EXCEEDED")
        .count();
    ensure!(
        (1..=20).contains(&refused),
        "57 refusals, at most ten a minute of them on record: {refused}"
    );

    // Logins too; and what is exempt is.
    done(&root, "POST", "sys/auth/userpass", json!({ "type": "userpass" })).await?;
    done(&root, "POST", "auth/userpass/users/ann", json!({ "password": "right" })).await?;
    done(
        &root,
        "POST",
        "sys/quotas/rate-limit/logins",
        json!({ "path": "auth/userpass/login*", "rate": 1, "interval": "1h" }),
    )
    .await?;
    let login = async || -> Result<u16> {
        let http = Http::on(&cluster, 1, "")?;
        let body = json!({ "password": "right" });
        Ok(http.ask_with("POST", "auth/userpass/login/ann", &[], &body).await?.code)
    };
    ensure!((login().await?, login().await?) == (200, 429));
    done(
        &root,
        "POST",
        "sys/quotas/config",
        json!({ "rate_limit_exempt_paths": ["auth/userpass/login/*"] }),
    )
    .await?;
    ensure!(login().await? == 200);
    // Everything together, by one measure; and whoever set it too low can mend it.
    done(
        &root,
        "POST",
        "sys/quotas/rate-limit/all",
        json!({ "rate": 0.001, "interval": "1h", "group_by": "none" }),
    )
    .await?;
    let path = "secret/data/free";
    ensure!(root.ask("GET", path, &Value::Null).await?.code == 200);
    ensure!(root.ask("GET", path, &Value::Null).await?.code == 429);
    ensure!(
        done(&root, "LIST", "sys/quotas/rate-limit", Value::Null).await?["data"]["keys"]
            == json!(["all", "few", "logins"])
    );
    for name in ["all", "few"] {
        done(&root, "DELETE", &format!("sys/quotas/rate-limit/{name}"), Value::Null).await?;
    }
    ensure!(root.ask("GET", path, &Value::Null).await?.code == 200);
    ensure!(root.ask("GET", "secret/data/limited", &Value::Null).await?.code == 200);
    for bad in [
        json!({}),
        json!({ "rate": 0 }),
        json!({ "rate": "x" }),
        json!({ "rate": 1, "path": "a*b" }),
        json!({ "rate": 1, "interval": "0s" }),
    ] {
        let refused = root.ask("POST", "sys/quotas/rate-limit/bad", &bad).await?;
        ensure!(refused.code == 400, "{bad}: {refused:?}");
    }
    Ok(())
}
