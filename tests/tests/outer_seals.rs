//! Seals whose key something outside wraps: a PKCS#11 token, the transit engine of another cluster. Everything that can be wrong there leaves the node
//! sealed, with a line that says what to do; and the shares open it as ever.

use std::collections::BTreeMap;
use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Output;
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::{Context as _, Result, ensure};
use aumbry_client::Client;
use aumbry_client::v1::{self, SnapshotPart};
use aumbry_tests::{
    Authority, Cluster, NodeEnv, Server, SoftHsm, Unusual, WebAsked, WebReply, WebStub, eventually, metric, run_cli,
};
use aumbry_types::SecretBytes;
use serde_json::{Value, json};

/// Abuse cases: 61, 62.
#[tokio::test(flavor = "multi_thread")]
async fn a_token_opens_the_node_and_whatever_is_wrong_with_it_does_not() -> Result<()> {
    let bed = Bed::start(false).await?;
    let section = bed.pkcs11(SoftHsm::PIN)?;
    let config = bed.configure(&section)?;
    // The key is made in the token once.
    let key = ["operator", "seals", "key", "--pkcs11", &config];
    refused(
        &bed.cli(&["operator", "seals", "add", "--pkcs11", &config])?,
        "has no AES key",
    )?;
    succeeded(&bed.cli(&key)?)?;
    refused(&bed.cli(&key)?, "nothing was done")?;
    bed.add("--pkcs11", &config)?;
    let listed = bed.list()?;
    ensure!(
        listed.len() == 2 && listed[1]["kind"] == "pkcs11" && listed[1]["name"] == "aumbry",
        "{listed:?}"
    );

    bed.restart()?;
    bed.opens().await?;
    ensure!(log(&bed.node()?).contains("this node unseals itself with a PKCS#11 token"));
    bed.tested("pkcs11", true).await?;

    // The token goes while the node is open: it is told before somebody finds out at the next start.
    let away = bed.hsm.at("away");
    let take_out = || {
        std::fs::rename(bed.hsm.tokens(), &away)?;
        std::fs::create_dir(bed.hsm.tokens())
    };
    // An empty directory gives way.
    let put_back = || std::fs::rename(&away, bed.hsm.tokens());
    take_out()?;
    bed.tested("pkcs11", false).await?;
    bed.logs("a seal of this node does not work").await?;
    bed.restart()?;
    bed.logs("shows no token").await?;
    ensure!(bed.is_sealed().await?);
    bed.cluster.unseal(1).await?;
    bed.tested("pkcs11", false).await?;
    put_back()?;
    bed.tested("pkcs11", true).await?;

    // A wrong PIN is tried once. The token is then gone, which nobody who asks it could miss.
    bed.pkcs11("pin-wrong-4711")?;
    bed.restart()?;
    bed.logs("the token refused the PIN").await?;
    take_out()?;
    let tries = || log_of(&bed).matches("tried in vain").count();
    let before = tries();
    eventually("it was tried twice more", || async { tries() >= before + 2 }).await?;
    ensure!(
        !log_of(&bed).contains("shows no token") && !log_of(&bed).contains("the token failed"),
        "the PIN was tried again: {}",
        log_of(&bed)
    );
    ensure!(bed.is_sealed().await?);
    put_back()?;
    bed.pkcs11(SoftHsm::PIN)?;
    bed.opens().await?;

    // Another token of the same name: without the key, then with another one.
    std::fs::rename(bed.hsm.tokens(), &away)?;
    bed.hsm.make_token()?;
    bed.restart()?;
    bed.logs("the token has no AES key").await?;
    ensure!(bed.is_sealed().await?);
    succeeded(&bed.cli(&key)?)?;
    bed.restart()?;
    bed.logs("does not open the seal").await?;
    ensure!(bed.is_sealed().await?);
    std::fs::remove_dir_all(bed.hsm.tokens())?;
    put_back()?;
    bed.opens().await?;

    // What was altered, made for another store, or is of another kind than it says.
    let id = listed[1]["key_id"].as_str().context("an id")?;
    succeeded(&bed.cli(&["operator", "seals", "remove", id])?)?;
    let status = bed.client()?.seal_status(None).await?;
    let outer = |storage_id: &[u8], epoch| v1::SealAddRequest {
        outer: Some(v1::OuterSealKey {
            kind: "pkcs11".to_owned(),
            key: format!("aumbry-seal-key-{}", "5f".repeat(32)).into(),
            name: "aumbry".to_owned(),
            wrapped: vec![7; 12 + 80 + 16].into(),
            storage_id: storage_id.to_vec().into(),
            root_epoch: epoch,
        }),
        shares: bed
            .cluster
            .shares()
            .iter()
            .take(3)
            .map(|share| share.clone().into())
            .collect(),
        ..Default::default()
    };
    for request in [
        outer(&[6; 16], status.root_epoch),
        outer(&status.storage_id, status.root_epoch + 1),
    ] {
        let told = bed
            .client()?
            .call(request)
            .await
            .err()
            .context("another store's is taken")?;
        ensure!(told.to_string().contains("for another store"), "{told}");
    }
    bed.client()?.call(outer(&status.storage_id, status.root_epoch)).await?;
    bed.restart()?;
    bed.logs("does not open the seal: the seal was altered").await?;
    ensure!(bed.is_sealed().await?);
    bed.cluster.unseal(1).await?;
    let text = log_of(&bed);
    ensure!(
        !text.contains(SoftHsm::PIN) && !text.contains("pin-wrong-4711"),
        "a PIN is in the log"
    );
    Ok(())
}

/// Abuse cases: 62.
#[tokio::test(flavor = "multi_thread")]
async fn another_cluster_opens_the_node_and_whatever_is_wrong_with_it_does_not() -> Result<()> {
    let bed = Bed::start(false).await?;
    let config = bed.configure(&bed.transit(&bed.authority)?)?;
    bed.add("--transit", &config)?;
    ensure!(bed.list()?[1]["name"] == "transit/aumbry");
    bed.restart()?;
    bed.opens().await?;
    bed.tested("transit", true).await?;

    let check = async |wrong: Behaviour, told: &str| {
        let engine = Arc::clone(&bed.engine);
        bed.stub
            .does(move |asked| wrong(asked).unwrap_or_else(|| engine.answer(asked)));
        bed.restart()?;
        bed.logs(told).await?;
        ensure!(bed.is_sealed().await?, "{told}: the node is open");
        let engine = Arc::clone(&bed.engine);
        bed.stub.does(move |asked| engine.answer(asked));
        bed.opens().await
    };
    let always = |code| -> Behaviour { Box::new(move |_| Some(WebReply::Json(code, json!({ "errors": [] })))) };
    check(Box::new(|_| Some(WebReply::Close)), "does not answer").await?;
    check(Box::new(|_| Some(WebReply::Endless)), "too long").await?;
    check(
        Box::new(|_| Some(WebReply::Redirect("https://127.0.0.1:1/".to_owned()))),
        "cannot be used (status 302)",
    )
    .await?;
    check(always(503), "cannot serve now (status 503)").await?;
    check(always(403), "refuses the token").await?;
    check(always(404), "has no key transit/aumbry").await?;
    check(always(400), "does not open the seal").await?;
    let other = json!({ "data": { "plaintext": "YXVtYnJ5" } });
    check(
        Box::new(move |_| Some(WebReply::Json(200, other.clone()))),
        "is not the key of the seal",
    )
    .await?;
    let cluster = bed.client()?.seal_status(None).await?.cluster_id;
    let own: Behaviour = Box::new(move |asked| {
        let is_health = asked.line.starts_with("GET /v1/sys/health");
        is_health.then(|| WebReply::Json(200, json!({ "cluster_id": cluster })))
    });
    check(own, "is this cluster itself").await?;

    // Another token in the file, and another authority: nobody without the right certificate is asked anything.
    private(&bed.at("token"), "token-wrong-0815")?;
    bed.restart()?;
    bed.logs("refuses the token").await?;
    ensure!(bed.is_sealed().await?);
    private(&bed.at("token"), TOKEN)?;
    bed.opens().await?;
    let stranger = Authority::make()?;
    bed.transit(&stranger)?;
    bed.restart()?;
    bed.logs("does not answer").await?;
    ensure!(bed.is_sealed().await?);
    let asked = bed.stub.asked();
    let tries = || log_of(&bed).matches("tried in vain").count();
    let before = tries();
    eventually("it was tried once more", || async { tries() > before }).await?;
    ensure!(bed.stub.asked() == asked, "a stranger was sent the token");
    bed.cluster.unseal(1).await?;
    bed.transit(&bed.authority)?;
    bed.tested("transit", true).await?;
    let text = log_of(&bed);
    ensure!(
        !text.contains(TOKEN) && !text.contains("token-wrong-0815"),
        "a token is in the log"
    );

    let own = format!(
        "[seal.transit]\naddress = \"https://{}\"\nkey = \"k\"\ntoken_file = \"/t\"\nca_file = \"/c\"\n",
        bed.node()?.client
    );
    let config = bed.configure(&own)?;
    refused(
        &run_cli(&["server", "--config", &config], &[], "")?,
        "cannot open itself",
    )
}

/// A key file, a token and another cluster at once, over one root key: each alone opens the node. One is replaced by another while the cluster serves; and a
/// backup with all of them is restored with shares alone.
#[tokio::test(flavor = "multi_thread")]
async fn any_one_of_several_opens_and_shares_open_a_backup() -> Result<()> {
    let bed = Bed::start(true).await?;
    put(&bed.client()?, "secret/before", "kept").await?;
    let file = bed.at("seal-key").to_string_lossy().into_owned();
    succeeded(&bed.cli(&["operator", "seals", "key", &file])?)?;
    bed.add("--static-key", &file)?;
    let both = bed.pkcs11(SoftHsm::PIN)? + &bed.transit(&bed.authority)?;
    let config = bed.configure(&format!("{both}[seal.static]\nkey_file = {file:?}\n"))?;
    succeeded(&bed.cli(&["operator", "seals", "key", "--pkcs11", &config])?)?;
    bed.add("--pkcs11", &config)?;
    bed.add("--transit", &config)?;
    let kinds = |listed: &[Value]| {
        let mut kinds: Vec<String> = listed
            .iter()
            .filter_map(|seal| seal["kind"].as_str().map(str::to_owned))
            .collect();
        kinds.sort_unstable();
        kinds
    };
    ensure!(kinds(&bed.list()?) == ["pkcs11", "shares", "static", "transit"]);
    for kind in ["static", "pkcs11", "transit"] {
        let away = [PathBuf::from(&file), bed.hsm.tokens(), bed.at("token")];
        let kept = match kind {
            "static" => 0,
            "pkcs11" => 1,
            _ => 2,
        };
        let gone: Vec<&PathBuf> = away
            .iter()
            .enumerate()
            .filter(|(n, _)| *n != kept)
            .map(|(_, path)| path)
            .collect();
        for path in &gone {
            std::fs::rename(path, path.with_extension("away"))?;
        }
        bed.restart()?;
        bed.opens().await.with_context(|| format!("{kind} alone"))?;
        for other in ["static", "pkcs11", "transit"] {
            bed.tested(other, other == kind).await?;
        }
        for path in &gone {
            std::fs::rename(path.with_extension("away"), path)?;
        }
        for other in ["static", "pkcs11", "transit"] {
            bed.tested(other, true).await?;
        }
    }
    let is_tested = |seal: &Value| seal["tested"].as_str().is_some_and(|told| told.ends_with("works"));
    let listed = bed.list()?;
    ensure!(listed.iter().filter(|seal| is_tested(seal)).count() == 3, "{listed:?}");

    // From the file to the token: nobody waits for it.
    let old = listed
        .iter()
        .find(|seal| seal["kind"] == "static")
        .and_then(|seal| seal["key_id"].as_str());
    let backup = save(&bed.client()?).await?;
    succeeded(&bed.cli(&["operator", "seals", "remove", old.context("an id")?])?)?;
    ensure!(get(&bed.client()?, "secret/before").await? == "kept");
    ensure!(kinds(&bed.list()?) == ["pkcs11", "shares", "transit"]);
    bed.tested("static", false).await?;

    let restored = Server::start(&bed.at("restored"), &bed.cluster, &Unusual::default()).await?;
    restore(&restored.client_as(SecretBytes::default())?, &backup).await?;
    restored.unseal(&bed.cluster.shares()[..3]).await?;
    let root = restored.client_as(bed.cluster.root_token())?;
    ensure!(get(&root, "secret/before").await? == "kept");
    let status = root.seal_status(None).await?;
    ensure!(status.seals.len() == 4, "{:?}", status.seals);
    Ok(())
}

type Behaviour = Box<dyn Fn(&WebAsked) -> Option<WebReply> + Send + Sync>;

/// A node, a token and another cluster's transit engine.
struct Bed {
    cluster: Cluster,
    hsm: SoftHsm,
    authority: Authority,
    engine: Arc<Engine>,
    stub: WebStub,
    directory: tempfile::TempDir,
    /// The configuration before anything was added.
    plain: String,
}

impl Bed {
    async fn start(quiet: bool) -> Result<Self> {
        let hsm = SoftHsm::make()?;
        let level = if quiet { "info" } else { "info,aumbry_server=debug" };
        let cluster = Cluster::start_with(1, &[], &[hsm.environment(), ("RUST_LOG", level)])?;
        let authority = Authority::make()?;
        let engine = Arc::new(Engine::default());
        let answering = Arc::clone(&engine);
        let stub = WebStub::start(&authority, move |asked| answering.answer(asked)).await?;
        let plain = std::fs::read_to_string(&cluster.node(1)?.config)?;
        Ok(Self {
            cluster,
            hsm,
            authority,
            engine,
            stub,
            directory: tempfile::tempdir()?,
            plain,
        })
    }

    fn at(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    fn node(&self) -> Result<NodeEnv> {
        self.cluster.node(1)
    }

    fn client(&self) -> Result<Client> {
        self.cluster.client_on(1)
    }

    /// The section of a token, whose PIN is in a file now.
    fn pkcs11(&self, pin: &str) -> Result<String> {
        private(&self.at("pin"), pin)?;
        Ok(format!(
            "[seal.pkcs11]\nmodule = {:?}\ntoken = {:?}\nkey = \"aumbry\"\npin_file = {:?}\n",
            SoftHsm::module()?,
            SoftHsm::LABEL,
            self.at("pin")
        ))
    }

    /// The section of another cluster, which is to have a certificate of this authority.
    fn transit(&self, authority: &Authority) -> Result<String> {
        private(&self.at("token"), TOKEN)?;
        std::fs::write(self.at("ca.pem"), authority.pem())?;
        Ok(format!(
            "[seal.transit]\naddress = {:?}\nkey = \"aumbry\"\ntoken_file = {:?}\nca_file = {:?}\n",
            self.stub.address,
            self.at("token"),
            self.at("ca.pem")
        ))
    }

    /// Writes the configuration of the node with these sections.
    fn configure(&self, sections: &str) -> Result<String> {
        let config = self.node()?.config;
        std::fs::write(&config, format!("{}\n[seal]\ntest_s = 1\n{sections}", self.plain))?;
        Ok(config)
    }

    fn cli(&self, arguments: &[&str]) -> Result<Output> {
        let shares = self.cluster.shares()[..3].join("\n");
        let token = self.cluster.root_token();
        let (endpoints, hsm) = (self.cluster.endpoints().join(","), self.hsm.environment());
        let environment = [
            ("AUMBRY_ADDR", endpoints.as_str()),
            ("AUMBRY_CACERT", self.cluster.ca_file()),
            ("AUMBRY_TOKEN", token.expose_str().context("a token is text")?),
            hsm,
        ];
        run_cli(arguments, &environment, &shares)
    }

    fn add(&self, option: &str, what: &str) -> Result<()> {
        succeeded(&self.cli(&["operator", "seals", "add", option, what])?)
    }

    fn list(&self) -> Result<Vec<Value>> {
        let listed = self.cli(&["operator", "seals", "list", "--output", "json"])?;
        succeeded(&listed)?;
        let listed: Value = serde_json::from_slice(&listed.stdout)?;
        Ok(listed["seals"].as_array().context("a list of seals")?.clone())
    }

    /// Ends the node, and starts it with a new log: a line that is found is of this start.
    fn restart(&self) -> Result<()> {
        self.cluster.kill(1)?;
        let log = log_file(&self.node()?);
        let old = (1..).map(|n| log.with_extension(format!("log.{n}")));
        let free = old.into_iter().find(|path| !path.exists()).context("a free name")?;
        std::fs::rename(&log, free)?;
        self.cluster.restart(1)
    }

    async fn is_sealed(&self) -> Result<bool> {
        Ok(self.client()?.seal_status(None).await?.sealed)
    }

    async fn opens(&self) -> Result<()> {
        let opened = eventually("the node opens itself", || async {
            self.is_sealed().await.is_ok_and(|sealed| !sealed)
        });
        opened.await.with_context(|| log_of(self))
    }

    async fn logs(&self, text: &str) -> Result<()> {
        let logged = eventually("it is logged", || async { log_of(self).contains(text) });
        logged.await.with_context(|| format!("{text:?} in {}", log_of(self)))
    }

    /// Waits until the node has found that a seal works, or does not: in its status and in its metrics.
    async fn tested(&self, kind: &str, works: bool) -> Result<()> {
        let node = self.node()?;
        let name = format!("aumbry_seal_works{{kind=\"{kind}\"}}");
        let found = eventually("the seal was tested", || async {
            let Ok(client) = self.client() else { return false };
            let Ok(status) = client.seal_status(None).await else {
                return false;
            };
            let told = status
                .seal_tests
                .iter()
                .any(|test| test.kind == kind && test.works == works);
            let expected = f64::from(u8::from(works));
            let value = metric(&node.metrics, &name).await;
            told && value.is_ok_and(|value| (value - expected).abs() < 0.5)
        });
        found
            .await
            .with_context(|| format!("{kind} {works} in {}", log_of(self)))
    }
}

/// The transit engine of a cluster that is not this one.
#[derive(Default)]
struct Engine {
    kept: Mutex<BTreeMap<String, (String, String)>>,
}

impl Engine {
    fn answer(&self, asked: &WebAsked) -> WebReply {
        let refuse = |code| WebReply::Json(code, json!({ "errors": ["no"] }));
        if asked.line.starts_with("GET /v1/sys/health") {
            return WebReply::Json(200, json!({ "cluster_id": "another" }));
        }
        if asked.bearer != TOKEN {
            return refuse(403);
        }
        let text = |name: &str| asked.body[name].as_str().unwrap_or_default().to_owned();
        let context = text("context");
        if context.is_empty() || text("associated_data") != context {
            return refuse(400);
        }
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        match asked.line.as_str() {
            "POST /v1/transit/encrypt/aumbry" => {
                let ciphertext = format!("vault:v1:{}", kept.len());
                kept.insert(ciphertext.clone(), (context, text("plaintext")));
                WebReply::Json(200, json!({ "data": { "ciphertext": ciphertext } }))
            }
            "POST /v1/transit/decrypt/aumbry" => match kept.get(&text("ciphertext")) {
                Some((bound, plaintext)) if *bound == context => {
                    WebReply::Json(200, json!({ "data": { "plaintext": plaintext } }))
                }
                _ => refuse(400),
            },
            _ => refuse(404),
        }
    }
}

fn succeeded(output: &Output) -> Result<()> {
    ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    Ok(())
}

fn refused(output: &Output, told: &str) -> Result<()> {
    let error = String::from_utf8_lossy(&output.stderr);
    ensure!(!output.status.success() && error.contains(told), "{told}: {error}");
    Ok(())
}

/// Replaces a file at once: what a node reads meanwhile is the old one or the new one.
fn private(file: &Path, content: &str) -> Result<()> {
    let new = file.with_extension("new");
    std::fs::write(&new, content)?;
    std::fs::set_permissions(&new, Permissions::from_mode(0o600))?;
    Ok(std::fs::rename(&new, file)?)
}

fn log_of(bed: &Bed) -> String {
    bed.node().map_or_else(|error| error.to_string(), |node| log(&node))
}

fn log(node: &NodeEnv) -> String {
    std::fs::read_to_string(log_file(node)).unwrap_or_default()
}

fn log_file(node: &NodeEnv) -> PathBuf {
    Path::new(&node.config).with_file_name("server.log")
}

async fn save(client: &Client) -> Result<Vec<u8>> {
    let mut parts = client.save_backup(None).await?;
    let mut backup = Vec::new();
    while let Some(part) = parts.next().await? {
        backup.extend_from_slice(&part);
    }
    Ok(backup)
}

async fn restore(client: &Client, backup: &[u8]) -> Result<()> {
    let part = |data: &[u8]| SnapshotPart {
        data: data.to_vec().into(),
        ..Default::default()
    };
    let mut parts: Vec<SnapshotPart> = backup.chunks(100_000).map(part).collect();
    parts.push(SnapshotPart {
        end: true,
        ..Default::default()
    });
    let mut restoring = client.restore_backup(None, futures::stream::iter(parts)).await?;
    while restoring.next().await?.restored.is_none() {}
    Ok(())
}

async fn put(client: &Client, path: &str, value: &str) -> Result<()> {
    let request = v1::KvPutRequest {
        path: path.to_owned(),
        data: serde_json::to_vec(&json!({ "k": value }))?.into(),
        ..Default::default()
    };
    client.call(request).await?;
    Ok(())
}

async fn get(client: &Client, path: &str) -> Result<String> {
    let request = v1::KvGetRequest {
        path: path.to_owned(),
        ..Default::default()
    };
    let item = client.call(request).await?.item.context("there is an item")?;
    let data: Value = serde_json::from_slice(&item.data)?;
    Ok(data["k"].as_str().unwrap_or_default().to_owned())
}

const TOKEN: &str = "transit-token-canary-0815";
