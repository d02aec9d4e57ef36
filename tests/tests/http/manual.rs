//! What is told as a whole: everything that is stored, and everything that can be asked.

use anyhow::{Context as _, Result, ensure};
use aumbry_tests::Cluster;
use serde_json::{Value, json};

use crate::bed::Http;

/// A backup by HTTP is the file that the command saves: the same tool inspects it. Who has no `sudo` gets none.
#[tokio::test(flavor = "multi_thread")]
async fn a_backup_is_a_stream() -> Result<()> {
    let cluster = Cluster::start(3)?;
    let root = Http::root(&cluster)?;
    for n in 0..40 {
        let body = json!({"data": {"a": "x".repeat(20_000)}});
        let answer = root.ask("POST", &format!("secret/data/b/{n}"), &body).await?;
        ensure!(answer.code == 200, "{answer:?}");
    }
    for node in 0..3 {
        let stream = aumbry_tests::connect(
            &cluster.nodes()[node].http,
            &std::fs::read_to_string(cluster.ca_file())?,
            "http/1.1",
        )
        .await?;
        let (head, body) = download(stream, cluster.root_token().expose_str().unwrap_or_default()).await?;
        ensure!(
            head.starts_with("http/1.1 200") && head.contains("transfer-encoding: chunked"),
            "{head}"
        );
        ensure!(body.len() > 800_000, "{}", body.len());
        let file = cluster.dir().join(format!("backup-{node}"));
        std::fs::write(&file, &body)?;
        let path = file.to_str().context("is a path")?;
        let inspected = cluster.cli(&["operator", "snapshot", "inspect", path], "")?;
        ensure!(inspected.status.success(), "{inspected:?}");
        // Cut, it is none.
        std::fs::write(&file, &body[..body.len() - 1])?;
        let inspected = cluster.cli(&["operator", "snapshot", "inspect", path], "")?;
        ensure!(!inspected.status.success(), "{inspected:?}");
    }
    Ok(())
}

/// Reads a chunked answer to its end.
async fn download(
    mut stream: impl tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin,
    token: &str,
) -> Result<(String, Vec<u8>)> {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    let request = format!(
        "GET /v1/sys/storage/raft/snapshot HTTP/1.1\r\nHost: node\r\nConnection: close\r\nX-Vault-Token: {token}\r\n\r\n"
    );
    stream.write_all(request.as_bytes()).await?;
    stream.flush().await?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await?;
    let end = answer
        .windows(4)
        .position(|bytes| bytes == b"\r\n\r\n")
        .context("no head")?;
    let head = String::from_utf8_lossy(&answer[..end]).to_lowercase();
    let (mut rest, mut body) = (&answer[end + 4..], Vec::new());
    loop {
        let line = rest.windows(2).position(|bytes| bytes == b"\r\n").context("no chunk")?;
        let size = usize::from_str_radix(std::str::from_utf8(&rest[..line])?, 16)?;
        rest = &rest[line + 2..];
        if size == 0 {
            return Ok((head, body));
        }
        body.extend_from_slice(&rest[..size]);
        rest = &rest[size + 2..];
    }
}

/// The document lists what there is: each of its paths leads somewhere, whatever is wrong with the request otherwise; and nothing that is refused.
#[tokio::test(flavor = "multi_thread")]
async fn the_document_and_the_router_agree() -> Result<()> {
    let cluster = Cluster::start(1)?;
    let root = Http::root(&cluster)?;
    for (path, kind) in [
        ("sys/auth/approle", "approle"),
        ("sys/auth/userpass", "userpass"),
        ("sys/auth/jwt", "jwt"),
        ("sys/auth/oidc", "oidc"),
        ("sys/auth/kubernetes", "kubernetes"),
        ("sys/auth/ldap", "ldap"),
        ("sys/auth/cert", "cert"),
        ("sys/mounts/kv", "kv"),
    ] {
        root.ask("POST", path, &json!({"type": kind})).await?;
    }
    let document = root
        .ask("GET", "sys/internal/specs/openapi", &Value::Null)
        .await?
        .json();
    let paths = document["paths"].as_object().context("there are paths")?;
    ensure!(paths.len() > 100, "{}", paths.len());
    let mut asked = 0;
    for (path, item) in paths {
        let real = path
            .replace("{secret_mount_path}", "secret")
            .replace("{kv_mount_path}", "kv")
            .replace("{approle_mount_path}", "approle")
            .replace("{userpass_mount_path}", "userpass")
            .replace("{jwt_mount_path}", "jwt")
            .replace("{oidc_mount_path}", "oidc")
            .replace("{kubernetes_mount_path}", "kubernetes")
            .replace("{ldap_mount_path}", "ldap")
            .replace("{cert_mount_path}", "cert")
            .replace("help/{path}", "help/sys/mounts")
            .replace("{role_name}/{setting}", "none/policies");
        let real: Vec<&str> = real
            .split('/')
            .map(|part| if part.starts_with('{') { "none" } else { part })
            .collect();
        let real = real.join("/");
        for (method, operation) in item.as_object().into_iter().flatten() {
            // What would end the test, or a token.
            let is_final = [
                "/sys/seal",
                "/sys/seal/cluster",
                "/sys/step-down",
                "/auth/token/revoke-self",
                "/sys/storage/raft/snapshot",
            ]
            .contains(&real.as_str());
            if operation["operationId"].is_null() || is_final || method == "patch" {
                continue;
            }
            let query = match operation["parameters"][0]["required"] == json!(true) {
                true => "?list=true",
                false => "",
            };
            let body = if method == "post" {
                json!({"x": "y"})
            } else {
                Value::Null
            };
            let answer = root
                .ask(&method.to_uppercase(), &format!("{}{query}", &real[1..]), &body)
                .await?;
            let is_unrouted = answer.body.contains("no handler for route") || matches!(answer.code, 405 | 500..);
            ensure!(!is_unrouted, "{method} {real}: {answer:?}");
            asked += 1;
        }
    }
    ensure!(asked > 130, "{asked}");
    Ok(())
}
