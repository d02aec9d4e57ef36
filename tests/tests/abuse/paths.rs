//! Paths and names: what is checked is what is stored, and there is one way to write it.

use anyhow::{Context as _, Result, ensure};
use aumbry_client::v1;

use crate::bed::{ask, each, get, list, put, reason, shared, token_with, with_policy};
use crate::raw::{GRPC, Raw, bearer, field, framed};

/// A list is refused where a deny says so, however its path is written, on each node.
#[tokio::test(flavor = "multi_thread")]
async fn abuse_001_a_deny_below_an_allow_holds_for_lists_too() -> Result<()> {
    let cluster = shared()?;
    let root = cluster.client()?;
    for path in ["a001/open/x", "a001/private/x", "a001/private/deep/x"] {
        root.call(put(&format!("secret/{path}"), "{}")).await?;
    }
    let text = r#"
        path "secret/metadata/a001/*" { capabilities = ["list", "read"] }
        path "secret/metadata/a001/private/*" { capabilities = ["deny"] }
    "#;
    for endpoints in each(&cluster) {
        let user = with_policy(&cluster, "a001", text, &endpoints).await?;
        ensure!(
            ask(&user, list("secret/a001/open")).await == "OK",
            "the positive control"
        );
        for path in [
            "secret/a001/private",
            "secret/a001/private/",
            "secret/a001/private/deep",
            "secret/a001/private/deep/",
        ] {
            let answer = ask(&user, list(path)).await;
            ensure!(answer == "PERMISSION_DENIED", "{path}: {answer}");
        }
    }
    Ok(())
}

/// Segments of dots are refused by every method that takes a path; percent signs and semicolons are plain characters, and lead nowhere else.
#[tokio::test(flavor = "multi_thread")]
async fn abuse_003_dots_are_refused_and_percent_signs_mean_nothing() -> Result<()> {
    let cluster = shared()?;
    let root = cluster.client()?;
    let policy = r#"path "secret/data/a003/open/*" { capabilities = ["create", "read", "update"] }"#;
    let user = with_policy(&cluster, "a003", policy, &cluster.endpoints()).await?;
    root.call(put("secret/a003/private/x", r#"{"canary":1}"#)).await?;
    for wrong in [
        "secret/a003/open/../private/x",
        "secret/./a003/private/x",
        "secret/a003/open/..",
        "secret/..",
        "../secret/a003/private/x",
    ] {
        refused_everywhere(&root, wrong).await?;
    }
    for odd in [
        "secret/a003/open/%2e%2e/private/x",
        "secret/a003/open/%252e%252e/private/x",
        "secret/a003/open/..%2fprivate/x",
        "secret/a003/open/..;/private/x",
        "secret/a003/open/x;y=z",
    ] {
        let read = ask(&user, get(odd)).await;
        ensure!(read == "NOT_FOUND", "{odd}: {read}");
        ensure!(ask(&user, put(odd, r#"{"odd":1}"#)).await == "OK", "{odd}");
    }
    let item = root
        .call(get("secret/a003/private/x"))
        .await?
        .item
        .context("the secret is there")?;
    ensure!(item.data == r#"{"canary":1}"#, "another path has changed it");
    Ok(())
}

/// Doubled, leading and trailing slashes are refused and never collapsed; what is stored is the text that was checked.
#[tokio::test(flavor = "multi_thread")]
async fn abuse_004_no_slash_is_collapsed() -> Result<()> {
    let cluster = shared()?;
    let root = cluster.client()?;
    for wrong in [
        "secret//a004",
        "/secret/a004",
        "//secret/a004",
        "secret/a004/",
        "secret/a004//x",
    ] {
        refused_everywhere(&root, wrong).await?;
    }
    let names = ["caf\u{e9} au lait", "%2e", "A", "a", "\u{df}", "ss", "~$&'()*,=@!"];
    for name in names {
        root.call(put(&format!("secret/a004/{name}"), "{}")).await?;
    }
    let mut stored = root.call(list("secret/a004")).await?.names;
    let mut expected = names.map(str::to_owned).to_vec();
    stored.sort();
    expected.sort();
    ensure!(stored == expected, "{stored:?}");
    Ok(())
}

/// What cannot be seen, or be written in two ways, is refused; so are bytes that are no text, which no client library would send.
#[tokio::test(flavor = "multi_thread")]
async fn abuse_005_what_cannot_be_seen_is_refused() -> Result<()> {
    let cluster = shared()?;
    let root = cluster.client()?;
    for odd in [
        "\0",
        "\n",
        "\r",
        "\t",
        "\u{1b}[2J",
        "\u{7f}",
        "\u{85}",
        "\u{ad}",
        "\u{200b}",
        "\u{200d}",
        "\u{202e}",
        "\u{2066}",
        "\u{feff}",
        "e\u{301}",
        "\u{1100}\u{1161}",
        "\u{e0041}",
    ] {
        for path in [
            format!("secret/a005{odd}"),
            format!("secret/{odd}/x"),
            format!("secret/a{odd}b/x"),
        ] {
            refused_everywhere(&root, &path).await?;
        }
    }
    let token = String::from_utf8(cluster.root_token().expose().to_vec())?;
    let raw = Raw::connect(&cluster.endpoints()[0], cluster.ca_file()).await?;
    for bytes in [
        &b"secret/\xff"[..],
        b"secret/\xc0\xaf",
        b"secret/\xed\xa0\x80",
        b"secret/a\x80b",
    ] {
        let headers = [GRPC, ("authorization", &bearer(&token))];
        for method in ["Get", "List", "Delete", "GetMetadata"] {
            let path = format!("/aumbry.v1.KvService/{method}");
            let answer = raw.post(&path, &headers, framed(&field(2, bytes))).await?;
            ensure!(
                answer.http == 200 && !answer.is_served(),
                "{method} took {bytes:?}: {answer:?}"
            );
        }
    }
    let answer = raw
        .post(
            "/aumbry.v1.KvService/List",
            &[GRPC, ("authorization", &bearer(&token))],
            framed(&field(2, b"secret")),
        )
        .await?;
    ensure!(answer.is_served(), "the positive control: {answer:?}");
    Ok(())
}

/// An encoded slash stays within its segment, whatever a policy says of what would be below.
#[tokio::test(flavor = "multi_thread")]
async fn abuse_006_an_encoded_slash_is_no_separator() -> Result<()> {
    let cluster = shared()?;
    let root = cluster.client()?;
    root.call(put("secret/a006/private", r#"{"canary":1}"#)).await?;
    let policy = r#"path "secret/data/+" { capabilities = ["create", "read", "update"] }"#;
    let user = with_policy(&cluster, "a006", policy, &cluster.endpoints()).await?;
    for path in [
        "secret/a006%2Fprivate",
        "secret/a006%2fprivate",
        "secret/a006%252Fprivate",
    ] {
        ensure!(ask(&user, get(path)).await == "NOT_FOUND", "{path}");
        ensure!(ask(&user, put(path, "{}")).await == "OK", "{path} has one segment");
    }
    ensure!(ask(&user, get("secret/a006/private")).await == "PERMISSION_DENIED");
    ensure!(root.call(list("secret/a006")).await?.names == ["private"]);
    Ok(())
}

/// Length, segments and depth are bounded, and looked at before any policy is: who may do nothing is told the same.
#[tokio::test(flavor = "multi_thread")]
async fn abuse_007_sizes_of_paths_are_looked_at_before_policies() -> Result<()> {
    let cluster = shared()?;
    let root = cluster.client()?;
    let nobody = with_policy(&cluster, "a007", "", &cluster.endpoints()).await?;
    let deep = |count: usize| vec!["d"; count].join("/");
    let segment = |bytes: usize| format!("secret/{}", "s".repeat(bytes));
    let long = |bytes: usize| {
        let path = format!("secret/{}", vec!["l".repeat(200); 6].join("/"));
        path[..bytes].to_owned()
    };
    let largest = [format!("secret/{}", deep(31)), segment(255), long(1_024)];
    for path in &largest {
        ensure!(ask(&root, put(path, "{}")).await == "OK", "{} bytes", path.len());
        ensure!(ask(&nobody, put(path, "{}")).await == "PERMISSION_DENIED");
    }
    let beyond = [format!("secret/{}", deep(32)), segment(256), long(1_025)];
    for path in &beyond {
        refused_everywhere(&root, path).await?;
        refused_everywhere(&nobody, path).await?;
    }
    Ok(())
}

/// Nothing that looks like `root` can be a policy, be read or deleted as one, or be given to a token.
#[tokio::test(flavor = "multi_thread")]
async fn abuse_010_nothing_looks_like_root() -> Result<()> {
    let cluster = shared()?;
    let root = cluster.client()?;
    let all = r#"path "*" { capabilities = ["create", "read", "update", "delete", "list", "sudo"] }"#;
    let granter = with_policy(&cluster, "a010", all, &cluster.endpoints()).await?;
    for name in [
        "ROOT",
        "Root",
        "Root ",
        "root ",
        " root",
        "root\u{200b}",
        "\u{ff52}\u{ff4f}\u{ff4f}\u{ff54}",
        "r\u{43e}ot",
        "root\0",
        "root/",
        "../root",
        "",
    ] {
        let name = name.to_owned();
        let answers = [
            ask(
                &root,
                v1::PolicyPutRequest {
                    name: name.clone(),
                    policy: all.to_owned(),
                    ..Default::default()
                },
            )
            .await,
            ask(
                &root,
                v1::PolicyGetRequest {
                    name: name.clone(),
                    ..Default::default()
                },
            )
            .await,
            ask(
                &root,
                v1::PolicyDeleteRequest {
                    name: name.clone(),
                    ..Default::default()
                },
            )
            .await,
            ask(&root, token_of(&name)).await,
            ask(&granter, token_of(&name)).await,
        ];
        ensure!(
            answers.iter().all(|answer| answer == "INVALID_REQUEST"),
            "{name:?}: {answers:?}"
        );
    }
    // Root itself is neither changed, nor given by who may give everything else.
    let own = v1::PolicyPutRequest {
        name: "root".to_owned(),
        policy: all.to_owned(),
        ..Default::default()
    };
    ensure!(ask(&root, own).await == "INVALID_REQUEST");
    ensure!(ask(&granter, token_of("root")).await != "OK");
    ensure!(ask(&granter, token_of("a010")).await == "OK", "the positive control");
    Ok(())
}

fn token_of(policy: &str) -> v1::TokenCreateRequest {
    v1::TokenCreateRequest {
        policies: vec![policy.to_owned()],
        ttl_s: 60,
        ..Default::default()
    }
}

/// Each secret of a batch is authorised by itself: one that may not be read refuses the batch, and nothing of the others leaves.
#[tokio::test(flavor = "multi_thread")]
async fn abuse_014_each_secret_of_a_batch_is_authorised() -> Result<()> {
    let cluster = shared()?;
    let root = cluster.client()?;
    for path in ["a014/open", "a014/closed"] {
        root.call(put(&format!("secret/{path}"), r#"{"canary":"a014"}"#))
            .await?;
    }
    let policy = r#"
        path "secret/data/a014/*" { capabilities = ["read"] }
        path "secret/data/a014/closed" { capabilities = ["deny"] }
    "#;
    let batch = |paths: &[&str]| v1::KvBatchGetRequest {
        paths: paths.iter().map(|path| format!("secret/a014/{path}")).collect(),
        ..Default::default()
    };
    for endpoints in each(&cluster) {
        let user = with_policy(&cluster, "a014", policy, &endpoints).await?;
        ensure!(ask(&user, batch(&["open"])).await == "OK", "the positive control");
        for paths in [
            &["closed"][..],
            &["open", "closed"],
            &["closed", "open"],
            &["open", "none", "closed"],
        ] {
            let refused = user.call(batch(paths)).await.err().context("a batch was not refused")?;
            ensure!(refused.reason() == "PERMISSION_DENIED", "{paths:?}: {refused}");
            // With the slash: a request's id, which is told, is of hexadecimal digits.
            ensure!(!format!("{refused:?}").contains("a014/"), "{refused:?}");
        }
    }
    Ok(())
}

/// A page of a list is of its directory alone, wherever it is told to begin, and has a bound.
#[tokio::test(flavor = "multi_thread")]
async fn abuse_015_a_page_stays_in_its_directory() -> Result<()> {
    let cluster = shared()?;
    let root = cluster.client()?;
    for path in ["a015/a/1", "a015/a/2", "a015/b/3", "a0150/4"] {
        root.call(put(&format!("secret/{path}"), "{}")).await?;
    }
    let policy = r#"path "secret/metadata/a015/a/*" { capabilities = ["list"] }"#;
    let user = with_policy(&cluster, "a015", policy, &cluster.endpoints()).await?;
    for after in ["", "0", "../", "../b", "/", "a015/a", "\0", "%2e%2e/"] {
        let request = v1::KvListRequest {
            after: after.to_owned(),
            ..list("secret/a015/a")
        };
        let names = user.call(request).await?.names;
        ensure!(
            names.iter().all(|name| ["1", "2"].contains(&name.as_str())),
            "{after:?}: {names:?}"
        );
    }
    for path in ["secret/a015", "secret/a015/b", "secret", "secret/a0150"] {
        ensure!(ask(&user, list(path)).await == "PERMISSION_DENIED", "{path}");
    }
    let request = v1::KvListRequest {
        limit: u32::MAX,
        ..list("secret/a015/a")
    };
    ensure!(ask(&user, request).await == "INVALID_REQUEST", "a page without a bound");
    Ok(())
}

/// A policy that is wrong is refused when it is written, and the one before it stays.
#[tokio::test(flavor = "multi_thread")]
async fn abuse_021_a_wrong_policy_is_refused_when_it_is_written() -> Result<()> {
    let cluster = shared()?;
    let root = cluster.client()?;
    let good = r#"path "secret/data/a021" { capabilities = ["read"] }"#;
    let token = token_with(&root, "a021", good).await?;
    root.call(put("secret/a021", "{}")).await?;
    let user = cluster.client_as(token, &cluster.endpoints())?;
    let rules = |count: usize| -> String {
        (0..count)
            .map(|n| format!("path \"{n}\"{{policy=\"read\"}}\n"))
            .collect()
    };
    let nested = |count: usize| format!("{}1{}", "[".repeat(count), "]".repeat(count));
    for wrong in [
        r#"path "a" { capabilities = ["fly"] }"#.to_owned(),
        good.repeat(2),
        rules(1_001),
        rules(10_000),
        format!("{{\"path\": {}}}", nested(1_000_000)),
        nested(30_000),
        format!("path \"a\" {{ capabilities = {} }}", nested(30_000)),
        "path \"a\" {".repeat(5_000),
    ] {
        let write = v1::PolicyPutRequest {
            name: "a021".to_owned(),
            policy: wrong.clone(),
            ..Default::default()
        };
        let refused = ask(&root, write).await;
        ensure!(
            refused == "INVALID_REQUEST",
            "{refused}: {}",
            &wrong[..wrong.len().min(60)]
        );
    }
    ensure!(
        ask(&user, get("secret/a021")).await == "OK",
        "the policy of before stays"
    );
    Ok(())
}

/// Every method that takes a path of a secret refuses this one as no path.
async fn refused_everywhere(client: &aumbry_client::Client, path: &str) -> Result<()> {
    let at = || path.to_owned();
    let mut answers = vec![
        ask(client, put(path, "{}")).await,
        ask(client, get(path)).await,
        reason(
            client
                .call(v1::KvBatchGetRequest {
                    paths: vec!["secret/fine".to_owned(), at()],
                    ..Default::default()
                })
                .await,
        ),
        ask(
            client,
            v1::KvPatchRequest {
                path: at(),
                data: "{}".into(),
                ..Default::default()
            },
        )
        .await,
        ask(
            client,
            v1::KvDeleteRequest {
                path: at(),
                ..Default::default()
            },
        )
        .await,
        ask(
            client,
            v1::KvUndeleteRequest {
                path: at(),
                versions: vec![1],
                ..Default::default()
            },
        )
        .await,
        ask(
            client,
            v1::KvDestroyRequest {
                path: at(),
                versions: vec![1],
                ..Default::default()
            },
        )
        .await,
        ask(
            client,
            v1::KvGetMetadataRequest {
                path: at(),
                ..Default::default()
            },
        )
        .await,
        ask(
            client,
            v1::KvPutMetadataRequest {
                path: at(),
                max_versions: Some(1),
                ..Default::default()
            },
        )
        .await,
        ask(
            client,
            v1::KvDeleteMetadataRequest {
                path: at(),
                ..Default::default()
            },
        )
        .await,
    ];
    // A directory may be written with one slash at its end, as people do; so may a mount.
    if path.strip_suffix('/').is_none_or(|rest| rest.ends_with('/')) {
        answers.push(ask(client, list(path)).await);
        let enable = v1::MountEnableRequest {
            path: at(),
            r#type: "kv".to_owned(),
            ..Default::default()
        };
        answers.push(ask(client, enable).await);
    }
    ensure!(
        answers.iter().all(|answer| answer == "INVALID_REQUEST"),
        "{path:?}: {answers:?}"
    );
    Ok(())
}
