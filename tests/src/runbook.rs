//! Runbooks, run as they are written. `deploy/runbooks/README.md` says what a page is and what it may use.

mod scene;

use std::fmt::Write as _;
use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use aumbry_client::Client;
use aumbry_types::SecretBytes;
use scene::Scene;

use crate::cluster::{binary, eventually};
use crate::states::equal_states;

/// A page: what it says to do, and in which cases it is run.
#[derive(Debug)]
pub struct Page {
    name: String,
    cases: Vec<Case>,
    blocks: Vec<Block>,
    /// Shell that comes after the blocks.
    check: String,
}

/// One run of a page.
#[derive(Debug)]
struct Case {
    setup: Setup,
    /// The steps that are gone, if not all.
    steps: Option<Vec<u32>>,
    /// Shell that comes before the blocks, and after the set-up.
    before: String,
}

/// What is there before a page is opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Setup {
    /// Names and addresses of three nodes, and nothing else.
    Fresh,
    /// So many nodes in a cluster, and so many that have certificates and a configuration only.
    Cluster { nodes: usize, spare: usize },
    /// Not even names: the page brings everything.
    Nothing,
}

#[derive(Debug)]
struct Block {
    line: usize,
    /// The number of the heading above it.
    step: u32,
    text: String,
}

impl Page {
    /// Reads a page that begins with its set-ups, in comments.
    pub fn parse(name: &str, text: &str) -> Result<Self> {
        Self::read(name, text).with_context(|| name.to_owned())
    }

    fn read(name: &str, text: &str) -> Result<Self> {
        ensure!(
            text.starts_with(SETUP),
            "it does not begin with its set-up: `{SETUP} cluster-3 -->`"
        );
        let cases = comments(text, SETUP)?
            .into_iter()
            .map(Case::parse)
            .collect::<Result<Vec<_>>>()?;
        let blocks = blocks(text)?;
        for Block { line, step, .. } in &blocks {
            let is_run = cases.iter().any(|case| case.goes(*step));
            ensure!(is_run, "no set-up runs the block at line {line}");
        }
        Ok(Self {
            name: name.to_owned(),
            cases,
            blocks,
            check: comments(text, CHECK)?.concat(),
        })
    }

    /// Takes a section of a page that has no set-up. The variables are set before its blocks.
    pub fn section(name: &str, text: &str, heading: &str, variables: &[(&str, String)]) -> Result<Self> {
        let (_, section) = text.split_once(&format!("\n{heading}\n")).context("no such section")?;
        let end = section.find("\n## ").unwrap_or(section.len());
        let mut before = String::new();
        for (variable, value) in variables {
            writeln!(before, "{variable}={value}")?;
        }
        Ok(Self {
            name: format!("{name}, {heading}"),
            cases: vec![Case {
                setup: Setup::Nothing,
                steps: None,
                before,
            }],
            blocks: blocks(&section[..end])?,
            check: String::new(),
        })
    }

    /// Runs it in each case, and looks whether the cluster that it leaves serves with equal states.
    pub async fn run(&self) -> Result<()> {
        for (case, number) in self.cases.iter().zip(1..) {
            let home = tempfile::tempdir()?;
            let ran = self.run_in(home.path(), case).await;
            ran.with_context(|| format!("{}, set-up {number}\n{}", self.name, told(home.path())))?;
        }
        Ok(())
    }

    async fn run_in(&self, home: &Path, case: &Case) -> Result<()> {
        let script = home.join("page.sh");
        std::fs::write(&script, self.script(home, case)?)?;
        let bin = home.join("bin");
        std::fs::create_dir(&bin)?;
        for program in ["aumbry", "aumbry-verify"] {
            std::os::unix::fs::symlink(binary().with_file_name(program), bin.join(program))?;
        }
        let systemctl = bin.join("systemctl");
        std::fs::write(&systemctl, include_str!("runbook/systemctl"))?;
        std::fs::set_permissions(&systemctl, Permissions::from_mode(0o755))?;
        let directory = home.join("work");
        std::fs::create_dir(&directory)?;
        let output = std::fs::File::create(home.join("output"))?;
        let path = std::env::var("PATH").unwrap_or_default();
        let mut command = Command::new("bash");
        command
            .args(["-euo", "pipefail"])
            .arg(&script)
            .current_dir(&directory)
            .env("PATH", format!("{}:{path}", bin.display()))
            // A page must not get by on what the one who tests has set.
            .env_remove("AUMBRY_ADDR")
            .env_remove("AUMBRY_CACERT")
            .env_remove("AUMBRY_TOKEN")
            .env("HOME", home)
            .stdin(Stdio::null())
            .stdout(output.try_clone()?)
            .stderr(output)
            .process_group(0);
        // The nodes live until it is dropped.
        let mut group = Group(command.spawn()?);
        let status = group.wait().await?;
        ensure!(status.success(), "it ended with {status}");
        serves(&home.join("end")).await
    }

    /// Everything that the page's shell runs.
    fn script(&self, home: &Path, case: &Case) -> Result<String> {
        let mut script = match case.setup {
            Setup::Nothing => String::new(),
            Setup::Fresh => Scene::make(home, 3, 0)?.variables()?,
            Setup::Cluster { nodes, spare } => {
                let scene = Scene::make(home, nodes, spare)?;
                scene.configure()?;
                scene.variables()? + include_str!("runbook/cluster.sh")
            }
        };
        writeln!(script, "{}", case.before)?;
        for block in self.blocks.iter().filter(|block| case.goes(block.step)) {
            writeln!(script, "echo '{MARK} line {}' >&2", block.line)?;
            writeln!(script, "{}", block.text)?;
        }
        writeln!(script, "echo '{MARK} check' >&2\n{}", self.check)?;
        writeln!(
            script,
            "printf '%s\\n' \"${{AUMBRY_ADDR:?}}\" \"${{AUMBRY_CACERT:?}}\" \"${{AUMBRY_TOKEN:?}}\" > '{}'",
            home.join("end").display()
        )?;
        Ok(script)
    }
}

impl Case {
    fn parse(comment: &str) -> Result<Self> {
        let (line, before) = comment.split_once('\n').unwrap_or((comment, ""));
        let (kind, steps) = match line.trim().split_once(" steps ") {
            Some((kind, steps)) => (kind, Some(steps)),
            None => (line.trim(), None),
        };
        let number = |text: &str| {
            text.trim()
                .parse()
                .with_context(|| format!("no step has the number {text:?}"))
        };
        let steps = steps.map(|steps| steps.split(',').map(number).collect::<Result<_>>());
        Ok(Self {
            setup: Setup::parse(kind).with_context(|| format!("no set-up is called {kind:?}"))?,
            steps: steps.transpose()?,
            before: before.to_owned(),
        })
    }

    fn goes(&self, step: u32) -> bool {
        self.steps.as_ref().is_none_or(|steps| steps.contains(&step))
    }
}

/// What stands in the comments that open like this.
fn comments<'a>(text: &'a str, opening: &str) -> Result<Vec<&'a str>> {
    let inside = |rest: &'a str| Ok(rest.split_once("-->").context("a comment does not end")?.0);
    text.split(opening).skip(1).map(inside).collect()
}

impl Setup {
    fn parse(text: &str) -> Option<Self> {
        if text == "fresh" {
            return Some(Self::Fresh);
        }
        let (nodes, spare) = match text.strip_prefix("cluster-")?.split_once('+') {
            Some((nodes, spare)) => (nodes, spare.parse().ok()?),
            None => (text.strip_prefix("cluster-")?, 0),
        };
        let nodes = nodes.parse().ok()?;
        ((1..=7).contains(&nodes) && spare <= 3).then_some(Self::Cluster { nodes, spare })
    }
}

/// The bash blocks of a text, in their order.
fn blocks(text: &str) -> Result<Vec<Block>> {
    let mut found: Vec<Block> = Vec::new();
    let mut is_open = false;
    let mut is_bash = false;
    let mut step = 0;
    for (number, line) in (1..).zip(text.lines()) {
        match line.strip_prefix("```") {
            Some(language) if !is_open => {
                is_bash = language.trim() == "bash";
                is_open = true;
                if is_bash {
                    found.push(Block {
                        line: number,
                        step,
                        text: String::new(),
                    });
                }
            }
            Some(_) => is_open = false,
            None if is_open && is_bash => {
                let block = found.last_mut().context("a block is open")?;
                writeln!(block.text, "{line}")?;
            }
            None if is_open => {}
            None => {
                let heading = line.strip_prefix("## ").and_then(|heading| heading.split_once(". "));
                step = heading.and_then(|(number, _)| number.parse().ok()).unwrap_or(step);
            }
        }
    }
    ensure!(!is_open, "a block does not end");
    ensure!(!found.is_empty(), "there is no ```bash block");
    for Block { line, text, .. } in &found {
        let mut lines = text.lines().map(str::trim);
        let says = lines.any(|line| !line.is_empty() && !line.starts_with('#'));
        ensure!(says, "the block at line {line} does nothing");
    }
    Ok(found)
}

/// A shell and everything that it has started, which ends with it.
struct Group(Child);

impl Group {
    async fn wait(&mut self) -> Result<ExitStatus> {
        let deadline = Instant::now() + PAGE_TIME;
        loop {
            if let Some(status) = self.0.try_wait()? {
                return Ok(status);
            }
            ensure!(
                Instant::now() < deadline,
                "it did not end within {} s",
                PAGE_TIME.as_secs()
            );
            tokio::time::sleep(POLL).await;
        }
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        // The shell leads its group.
        let group = format!("-{}", self.0.id());
        let _ = Command::new("kill").args(["-KILL", "--", &group]).status();
        let _ = self.0.wait();
    }
}

/// Whether all nodes that a page has left serve, with equal states.
async fn serves(end: &Path) -> Result<()> {
    let end = std::fs::read_to_string(end)?;
    let mut lines = end.lines();
    let mut line = || lines.next().context("the page's shell told less than was asked");
    let (addresses, ca, token) = (line()?, std::fs::read(line()?)?, line()?);
    let clients = addresses
        .split(',')
        .map(|address| {
            let builder = Client::builder()
                .endpoints(vec![address.to_owned()])
                .ca_pem(ca.clone())
                .token(SecretBytes::from(token.to_owned()))
                .timeout(CALL_TIME);
            Ok(builder.retries(false).build()?)
        })
        .collect::<Result<Vec<_>>>()?;
    for (address, client) in addresses.split(',').zip(&clients) {
        let serves = || async {
            let health = client.health(None).await;
            health.is_ok_and(|health| !health.sealed && health.leader_known)
        };
        eventually(&format!("{address} serves"), serves).await?;
    }
    equal_states(&clients).await
}

/// The end of what a page and its nodes wrote.
fn told(home: &Path) -> String {
    let mut files = vec![home.join("output"), home.join("work/setup.log")];
    files.extend((1..=9).map(|n| home.join(format!("n{n}/log"))));
    files.retain(|path| path.exists());
    let tail = |path: &Path| {
        let text = std::fs::read_to_string(path).unwrap_or_default();
        let lines: Vec<&str> = text.lines().collect();
        lines[lines.len().saturating_sub(TAIL_LINES)..].join("\n")
    };
    let tails = files
        .iter()
        .map(|path| format!("--- {}\n{}\n", path.display(), tail(path)));
    tails.collect()
}

const SETUP: &str = "<!-- setup:";
const CHECK: &str = "<!-- check:";
/// Stands in the output before what a block writes.
const MARK: &str = "=== block at";
/// The longest page restarts three nodes one after the other, on a machine that others use too.
const PAGE_TIME: Duration = Duration::from_secs(300);
const CALL_TIME: Duration = Duration::from_secs(15);
const POLL: Duration = Duration::from_millis(50);
const TAIL_LINES: usize = 40;

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(text: &str) -> String {
        format!("{:#}", Page::parse("page.md", text).unwrap_err())
    }

    #[test]
    fn a_page_that_says_nothing_is_refused() {
        let good = "<!-- setup: cluster-3+1\nrm x\n-->\n# A\n```toml\na\n```\n```bash\nls\n```\n<!-- check: true -->\n";
        let page = Page::parse("page.md", good).unwrap();
        assert_eq!(page.cases[0].setup, Setup::Cluster { nodes: 3, spare: 1 });
        assert_eq!((page.cases[0].before.as_str(), page.check.trim()), ("rm x\n", "true"));
        assert_eq!(page.blocks.len(), 1);
        assert_eq!((page.blocks[0].line, page.blocks[0].text.as_str()), (8, "ls\n"));

        for (bad, why) in [
            (
                good.replace("<!-- setup", "<!-- set-up"),
                "does not begin with its set-up",
            ),
            (good.replace("cluster-3+1", "cluster-0"), "no set-up is called"),
            (good.replace("cluster-3+1", "party"), "no set-up is called"),
            (good.replace("ls\n", ""), "does nothing"),
            (good.replace("ls\n", "# only words\n"), "does nothing"),
            (good.replace("bash", "sh"), "there is no ```bash block"),
            (good.replace("ls\n```", "ls\n"), "does not end"),
            (good.replace("cluster-3+1", "fresh steps 1,x"), "no step has the number"),
            (
                good.replace("cluster-3+1", "fresh steps 1"),
                "no set-up runs the block at line 8",
            ),
        ] {
            let error = refused(&bad);
            assert!(error.contains(why), "{error}");
        }
    }

    #[test]
    fn a_page_with_a_choice_is_run_once_for_each() {
        let block = |command: &str| format!("```bash\n{command}\n```\n");
        let text = format!(
            "<!-- setup: fresh steps 1,2 -->\n<!-- setup: fresh steps 1,3\nx\n-->\n## 1. A\n{}## 2. B\n{}## 3. C\n{}",
            block("one"),
            block("two"),
            block("three")
        );
        let page = Page::parse("page.md", &text).unwrap();
        let home = tempfile::tempdir().unwrap();
        let script = |case: usize| {
            let home = home.path().join(case.to_string());
            std::fs::create_dir(&home).unwrap();
            page.script(&home, &page.cases[case]).unwrap()
        };
        let (first, second) = (script(0), script(1));
        assert!(first.contains("one\n") && first.contains("two\n") && !first.contains("three\n"));
        assert!(
            second.contains("x\n")
                && second.contains("one\n")
                && second.contains("three\n")
                && !second.contains("two\n")
        );
    }
}
