//! What the demo shows, in the order in which it is told.

use std::fs;
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use super::Afterwards;
use super::canary::Canaries;
use super::cluster::{Cluster, until};
use super::json::Json;

/// Tells everything; gives the cluster, still running.
pub(crate) fn tell(aumbry: PathBuf, work: &Path, afterwards: Afterwards) -> Result<Cluster, String> {
    let mut tell = Teller {
        started: Instant::now(),
    };
    let mut world = World::start(aumbry, work, afterwards, &mut tell)?;
    world.unseal_all(&mut tell)?;
    world.grant(&mut tell)?;
    world.write_and_read(&mut tell)?;
    world.refuse(&mut tell)?;
    let killed = world.kill_the_leader(&mut tell)?;
    world.bring_back(killed, &mut tell)?;
    world.audit(&mut tell)?;
    world.search(&mut tell)?;
    Ok(world.cluster)
}

/// Prints with the time since the start.
struct Teller {
    started: Instant,
}

impl Teller {
    fn title(&mut self, title: &str) {
        println!("\n{title}");
    }

    fn line(&mut self, text: &str) {
        println!("  {:>7.2} s  {text}", self.started.elapsed().as_secs_f64());
    }
}

/// The cluster and all that was put into it.
struct World {
    cluster: Cluster,
    work: PathBuf,
    root: String,
    /// A token that may use one directory.
    app: String,
    /// Names that must be readable nowhere: a directory and a policy.
    directory: String,
    policy: String,
    /// Secrets: path and value.
    secrets: Vec<(String, String)>,
    /// How many requests the cluster answered that must be in the audit log.
    answered: usize,
}

const ALL: [usize; 3] = [0, 1, 2];

impl World {
    fn start(aumbry: PathBuf, work: &Path, afterwards: Afterwards, tell: &mut Teller) -> Result<Self, String> {
        tell.title("1. Three nodes, initialised and sealed");
        let (directory, policy) = (format!("team-{}", random_word()?), format!("policy-{}", random_word()?));
        let before = Instant::now();
        let cluster = Cluster::start(aumbry, work, afterwards)?;
        let environment = &cluster.environment;
        let (shares, threshold) = (environment.shares.len(), environment.threshold.as_str());
        same("number of nodes", environment.nodes.len(), ALL.len())?;
        same("number of shares", shares, 5)?;
        same("threshold", threshold, "3")?;
        tell.line(&format!(
            "three processes, TLS on every connection, ready after {:.2} s; the key is in {shares} shares, any {threshold} open it",
            before.elapsed().as_secs_f64()
        ));
        for node in ALL {
            let arguments = ["kv", "get", "secret/anything"];
            cluster.must_not(&[node], &environment.root_token, &arguments, "", &["sealed"])?;
        }
        tell.line("sealed nodes refuse to read, even for the root token");
        Ok(Self {
            root: environment.root_token.clone(),
            cluster,
            work: work.to_owned(),
            app: String::new(),
            directory,
            policy,
            secrets: Vec::new(),
            answered: 0,
        })
    }

    fn unseal_all(&mut self, tell: &mut Teller) -> Result<(), String> {
        tell.title("2. Unsealed with three of five shares");
        let flipped = flip_last(&self.cluster.environment.shares[0])?;
        self.cluster
            .must_not(&[0], "", &["operator", "unseal", "-"], &flipped, &["share"])?;
        same("seal after a wrong share", self.cluster.status(0)?.0, true)?;
        tell.line("a share with one wrong character is named as such and changes nothing");
        for node in ALL {
            // Not the same three everywhere: any three have to do.
            self.unseal(node, node, tell)?;
        }
        Ok(())
    }

    /// Unseals one node with three shares from `first` on.
    fn unseal(&self, node: usize, first: usize, tell: &mut Teller) -> Result<(), String> {
        let before = Instant::now();
        for share in &self.cluster.environment.shares[first..first + 3] {
            same("seal before the last share", self.cluster.status(node)?.0, true)?;
            self.cluster
                .must(&[node], "", &["operator", "unseal", "-"], &format!("{share}\n"))?;
        }
        let sealed = || match self.cluster.status(node)? {
            (true, _) => Err("the node is still sealed after three shares".to_owned()),
            (false, _) => Ok(()),
        };
        until(SETTLE, sealed)?;
        tell.line(&format!(
            "node {} opened with shares {} to {} in {:.2} s",
            self.cluster.environment.nodes[node].id,
            first + 1,
            first + 3,
            before.elapsed().as_secs_f64()
        ));
        Ok(())
    }

    fn grant(&mut self, tell: &mut Teller) -> Result<(), String> {
        tell.title("3. A policy and a token");
        let rules = format!(
            "path \"secret/data/{0}/*\" {{ capabilities = [\"create\", \"read\", \"update\"] }}\n\
             path \"secret/metadata/{0}/*\" {{ capabilities = [\"list\"] }}\n",
            self.directory
        );
        until(SETTLE, || {
            self.cluster
                .must(&ALL, &self.root, &["policy", "write", &self.policy, "-"], &rules)
        })?;
        let arguments = [
            "token",
            "create",
            "--policy",
            &self.policy,
            "--ttl",
            "1h",
            "--output",
            "json",
        ];
        let created = self.cluster.must(&ALL, &self.root, &arguments, "")?;
        self.app = Json::parse(&created.stdout)?.text("token")?;
        self.answered += 2;
        tell.line("the token may write and read below one directory, for an hour");
        Ok(())
    }

    fn write_and_read(&mut self, tell: &mut Teller) -> Result<(), String> {
        tell.title("4. Secrets through every node");
        for node in ALL {
            let took = self.write(&[node])?;
            tell.line(&format!(
                "written through node {} in {} ms",
                self.id(node),
                took.as_millis()
            ));
        }
        for node in ALL {
            let took = self.read_all(&[node])?;
            tell.line(&format!(
                "all {} read through node {}, {} ms each",
                self.secrets.len(),
                self.id(node),
                took.as_millis() / self.secrets.len() as u128
            ));
        }
        Ok(())
    }

    fn refuse(&mut self, tell: &mut Teller) -> Result<(), String> {
        tell.title("5. Refused");
        let foreign = format!("secret/{}/key", random_word()?);
        let value = random_word()?;
        self.put(&ALL, &self.root, &foreign, &value)?;
        let got = self.get(&ALL, &self.root, &foreign)?.0;
        same("the value that root reads", &got, &value)?;
        for node in ALL {
            let refused = self
                .cluster
                .must_not(&[node], &self.app, &["kv", "get", &foreign], "", &DENIED)?;
            if refused.said().contains(&value) {
                return Err("the refusal holds the value".to_owned());
            }
        }
        self.secrets.push((foreign, value));
        self.answered += 2 + ALL.len();
        tell.line("what root reads, the application's token may not: denied by every node");
        Ok(())
    }

    /// Kills the leader, and goes on with the two that are left. Gives the node that was killed.
    fn kill_the_leader(&mut self, tell: &mut Teller) -> Result<usize, String> {
        tell.title("6. The leader is killed");
        let leader = self.cluster.leader(&ALL)?;
        let left: Vec<usize> = ALL.into_iter().filter(|&node| node != leader).collect();
        let killed = Instant::now();
        self.cluster.kill(leader)?;
        tell.line(&format!("SIGKILL to node {}, which led", self.id(leader)));
        until(FAILOVER, || self.write(&left))?;
        tell.line(&format!(
            "the next write is acknowledged after {:.2} s",
            killed.elapsed().as_secs_f64()
        ));
        self.read_all(&left)?;
        tell.line(&format!(
            "all {} secrets are read through the two that are left",
            self.secrets.len()
        ));
        let next = self.cluster.leader(&left)?;
        if next == leader {
            return Err(format!("node {} is dead and is said to lead", self.id(leader)));
        }
        tell.line(&format!("node {} leads now", self.id(next)));
        self.answered += 2;
        Ok(leader)
    }

    fn bring_back(&mut self, node: usize, tell: &mut Teller) -> Result<(), String> {
        tell.title("7. The node comes back");
        let missed = self.cluster.status(self.cluster.leader(&others(node))?)?.1;
        self.answered += 1;
        let before = Instant::now();
        self.cluster.start_again(node)?;
        let index = until(FAILOVER, || match self.cluster.status(node)? {
            (false, _) => Err("the node came back unsealed, without a share".to_owned()),
            (true, index) if index < missed => Err(format!("it has applied {index} of {missed}")),
            (true, index) => Ok(index),
        })?;
        tell.line(&format!(
            "sealed, it has caught up with the log (index {index}) after {:.2} s: that needs no key",
            before.elapsed().as_secs_f64()
        ));
        self.cluster
            .must_not(&[node], &self.root, &["kv", "get", &self.secrets[0].0], "", &["sealed"])?;
        self.unseal(node, 2, tell)?;
        self.read_all(&[node])?;
        tell.line("it serves all secrets again, the one that it missed included");
        Ok(())
    }

    fn audit(&mut self, tell: &mut Teller) -> Result<(), String> {
        tell.title("8. The audit log");
        let log = self.cluster.must(
            &ALL,
            &self.root,
            &["audit", "log", "--from", "0", "--output", "json"],
            "",
        )?;
        let records = log
            .stdout
            .lines()
            .map(Json::parse)
            .collect::<Result<Vec<_>, _>>()?
            .len();
        if records < self.answered {
            return Err(format!(
                "{records} records for {} answers: some are missing",
                self.answered
            ));
        }
        if !DENIED.iter().any(|word| log.stdout.to_lowercase().contains(word)) {
            return Err("the log holds no refusal".to_owned());
        }
        if self.secrets.iter().any(|(_, value)| log.stdout.contains(value)) {
            return Err("a value is in the audit log".to_owned());
        }
        tell.line(&format!(
            "{records} records, refusals included, no value among them; the last ones:"
        ));
        let table = self.cluster.must(&ALL, &self.root, &["audit", "log"], "")?.stdout;
        let lines: Vec<&str> = table.lines().collect();
        for line in &lines[lines.len().saturating_sub(RECORDS_SHOWN)..] {
            println!("             {}", line.chars().take(WIDTH).collect::<String>());
        }
        self.verify(tell)
    }

    fn verify(&self, tell: &mut Teller) -> Result<(), String> {
        let (whole, cut) = (self.work.join("audit.jsonl"), self.work.join("audit-cut.jsonl"));
        let (whole_name, cut_name) = (whole.display().to_string(), cut.display().to_string());
        self.cluster
            .must(&ALL, &self.root, &["audit", "export", &whole_name], "")?;
        let verified = self.cluster.offline(&["audit", "verify", &whole_name])?;
        if !verified.succeeded() {
            return Err(format!("the exported log does not verify: {verified}"));
        }
        tell.line(&format!(
            "exported, and verified without server or key in {} ms",
            verified.took.as_millis()
        ));

        let text = fs::read_to_string(&whole).map_err(|e| format!("cannot read {whole_name}: {e}"))?;
        let mut lines: Vec<&str> = text.lines().collect();
        lines.remove(lines.len() / 2);
        fs::write(&cut, lines.join("\n") + "\n").map_err(|e| format!("cannot write {cut_name}: {e}"))?;
        let verified = self.cluster.offline(&["audit", "verify", &cut_name])?;
        if verified.succeeded() {
            return Err("a log without one of its records verifies".to_owned());
        }
        tell.line("with one record taken out, it does not verify");
        Ok(())
    }

    fn search(&self, tell: &mut Teller) -> Result<(), String> {
        tell.title("9. Nothing to read on the disks");
        let environment = &self.cluster.environment;
        let mut words = vec![
            ("the name of a directory", longest_part(&self.directory)),
            ("the name of a policy", longest_part(&self.policy)),
        ];
        let own = format!("secret/{}/", self.directory);
        for (path, value) in &self.secrets {
            words.push(("a value", value));
            words.push((
                "the name of a secret",
                longest_part(path.strip_prefix(&own).unwrap_or(path)),
            ));
        }
        // `aumbry dev` writes the keys for its user beside the nodes' directories; nowhere else may they be.
        let mut keys = vec![
            ("the root token", longest_part(&self.root)),
            ("a token", longest_part(&self.app)),
        ];
        keys.extend(environment.shares.iter().map(|share| ("a share", longest_part(share))));

        let everywhere = Canaries::new(words.iter().copied());
        let in_data = Canaries::new(words.iter().chain(&keys).copied());
        in_data.prove(&self.work.join("planted"))?;
        tell.line(&format!(
            "a search for {} patterns finds each of them where it was planted",
            in_data.len()
        ));
        let (mut files, mut bytes) = (0, 0);
        for node in &environment.nodes {
            let search = in_data.search(&node.data_dir)?;
            if search.bytes == 0 {
                return Err(format!("there is nothing in {}", node.data_dir.display()));
            }
            none_found(&search.found)?;
            files += search.files;
            bytes += search.bytes;
        }
        none_found(&everywhere.search(self.cluster.dir())?.found)?;
        tell.line(&format!(
            "in {files} files with {} KiB of three data directories it finds no value, name, token or share: not as it is, as hex or as base64",
            bytes / 1024
        ));
        Ok(())
    }

    /// Writes one more secret as the application.
    fn write(&mut self, nodes: &[usize]) -> Result<Duration, String> {
        let path = format!("secret/{}/key-{}", self.directory, random_word()?);
        let value = random_word()?;
        let took = self.put(nodes, &self.app, &path, &value)?;
        self.secrets.push((path, value));
        self.answered += 1;
        Ok(took)
    }

    /// Reads all secrets, each as somebody who may.
    fn read_all(&mut self, nodes: &[usize]) -> Result<Duration, String> {
        let mut took = Duration::ZERO;
        for (path, value) in &self.secrets {
            let own = path.starts_with(&format!("secret/{}/", self.directory));
            let (got, time) = self.get(nodes, if own { &self.app } else { &self.root }, path)?;
            same("the value that is read", &got, value)?;
            took += time;
        }
        self.answered += self.secrets.len();
        Ok(took)
    }

    /// Values go by a file: a command line is readable for every user of the machine.
    fn put(&self, nodes: &[usize], token: &str, path: &str, value: &str) -> Result<Duration, String> {
        let file = self.work.join("value");
        fs::write(&file, value).map_err(|e| format!("cannot write {}: {e}", file.display()))?;
        let field = format!("password=@{}", file.display());
        let finished = self.cluster.must(nodes, token, &["kv", "put", path, &field], "");
        let _ = fs::remove_file(&file);
        Ok(finished?.took)
    }

    fn get(&self, nodes: &[usize], token: &str, path: &str) -> Result<(String, Duration), String> {
        let got = self
            .cluster
            .must(nodes, token, &["kv", "get", "--output", "json", path], "")?;
        let json = Json::parse(&got.stdout)?;
        json.member("metadata")?.text("version")?;
        Ok((json.member("data")?.text("password")?, got.took))
    }

    fn id(&self, node: usize) -> &str {
        &self.cluster.environment.nodes[node].id
    }
}

fn others(node: usize) -> Vec<usize> {
    ALL.into_iter().filter(|&other| other != node).collect()
}

/// Never shows the two: they may be secrets.
fn same<T: PartialEq<U>, U>(what: &str, is: T, should_be: U) -> Result<(), String> {
    if is == should_be {
        Ok(())
    } else {
        Err(format!("the {what} is not what it should be"))
    }
}

fn none_found(found: &[String]) -> Result<(), String> {
    if found.is_empty() {
        Ok(())
    } else {
        Err(format!("found on disk:\n    {}", found.join("\n    ")))
    }
}

/// The share with its last character replaced by another one that occurs in it, so that only the check can tell.
fn flip_last(share: &str) -> Result<String, String> {
    let last = share.chars().next_back().ok_or("a share is empty")?;
    let other = share
        .chars()
        .rev()
        .find(|c| c.is_ascii_alphanumeric() && *c != last)
        .ok_or("a share is too short")?;
    Ok(format!("{}{other}\n", &share[..share.len() - last.len_utf8()]))
}

/// The part of a token or share that tells it from others, without what all of them begin with.
fn longest_part(text: &str) -> &str {
    text.split(|c: char| !c.is_ascii_alphanumeric())
        .max_by_key(|part| part.len())
        .unwrap_or(text)
}

/// 96 random bits: found anywhere, it was copied there.
fn random_word() -> Result<String, String> {
    let mut bytes = [0; 12];
    fs::File::open("/dev/urandom")
        .and_then(|mut source| source.read_exact(&mut bytes))
        .map_err(|e| format!("cannot read /dev/urandom: {e}"))?;
    Ok(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
}

const DENIED: [&str; 2] = ["denied", "permission"];

/// For what should be true at once, on a machine that is busy.
const SETTLE: Duration = Duration::from_secs(10);

/// An election and a start, with much room.
const FAILOVER: Duration = Duration::from_secs(30);

const RECORDS_SHOWN: usize = 6;
const WIDTH: usize = 150;
