//! Each kind of damage to a node's files is named by the check and refused by the server.

use std::fs::{self, File};
use std::os::unix::fs::FileExt as _;
use std::path::Path;

use anyhow::{Context as _, Result, ensure};
use aumbry_tests::{
    Refusal, Trio, copy_directory, flip, flip_middle, flip_middle_of_log, is_clear, log_end, newest, operator, run_cli,
};

/// Each kind of damage, on a copy of a stopped node's data directory: the check names the part and the remedy, and the server refuses in one line.
#[tokio::test(flavor = "multi_thread")]
async fn each_kind_of_damage_is_named_and_refused() -> Result<()> {
    let mut bed = Trio::start().await?;
    bed.fill().await?;
    bed.victim.stop().await?;
    let data = bed.victim.data();
    let (code, found) = operator("check", &bed.victim.config(), &[])?;
    ensure!(code == 0, "an intact node: {found}");

    for (name, damage, part, remedy) in KINDS {
        let copy = bed.directory().join("copy");
        copy_directory(&data, &copy.join("data"))?;
        damage(&copy.join("data")).context(*name)?;
        let config = fs::read_to_string(bed.victim.config())?;
        let config = config.replace(&*data.to_string_lossy(), &copy.join("data").to_string_lossy());
        fs::write(copy.join("aumbry.toml"), config)?;
        let config = copy.join("aumbry.toml");
        let (code, found) = operator("check", &config, &[]).context(*name)?;
        ensure!(code == 8, "{name}: {found}");
        let parts: Vec<&str> = found["findings"]
            .as_array()
            .into_iter()
            .flatten()
            .filter_map(|f| f["part"].as_str())
            .collect();
        ensure!(parts.contains(part) && found["remedy"] == *remedy, "{name}: {found}");
        let output = run_cli(&["server", "--config", &config.to_string_lossy()], &[], "")?;
        let refusal = Refusal {
            code: output.status.code().unwrap_or(-1),
            text: String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned(),
        };
        ensure!(refusal.code == 8, "{name}: {refusal:?}");
        is_clear(&refusal, &copy.join("data")).context(*name)?;
        fs::remove_dir_all(&copy)?;
    }

    // An end that was never acknowledged is torn by every crash: it is dropped, and the node is as good as before.
    let (segment, end) = log_end(&data)?;
    let torn = [b"aumb", &[9; 2000][..]].concat();
    let segment = File::options().write(true).open(segment)?;
    segment.write_all_at(&torn, end.next_multiple_of(512))?;
    bed.victim.run().await?;
    ensure!(bed.catches_up().await?, "{}", bed.victim.log());
    bed.all_is_there().await
}

type Damage = fn(&Path) -> Result<()>;

const KINDS: &[(&str, Damage, &str, &str)] = &[
    (
        "no log at all",
        |data| Ok(fs::remove_dir_all(data.join("log"))?),
        "log",
        "discard",
    ),
    (
        "no segments of the log",
        |data| Ok(fs::remove_dir_all(data.join("log/wal"))?),
        "log",
        "discard",
    ),
    (
        "no newest segment of the log",
        |data| Ok(fs::remove_file(log_end(data)?.0)?),
        "log",
        "discard",
    ),
    (
        "a flip in the header of a segment",
        |data| flip(&log_end(data)?.0, 20, 1),
        "log",
        "discard",
    ),
    (
        "a cut segment",
        |data| Ok(File::options().write(true).open(log_end(data)?.0)?.set_len(10_000)?),
        "log",
        "discard",
    ),
    (
        "a lost acknowledged end",
        |data| {
            let (segment, end) = log_end(data)?;
            let lost = vec![0; (end / 2) as usize];
            let segment = File::options().write(true).open(segment)?;
            Ok(segment.write_all_at(&lost, end - end / 2)?)
        },
        "log",
        "discard",
    ),
    ("a flip in the middle of the log", flip_middle_of_log, "log", "discard"),
    (
        "no floor",
        |data| Ok(fs::remove_file(data.join("log/floor"))?),
        "floor",
        "discard",
    ),
    (
        "both slots of the floor",
        |data| {
            flip(&data.join("log/floor"), 20, 1)?;
            flip(&data.join("log/floor"), 4_096 + 20, 1)
        },
        "floor",
        "discard",
    ),
    (
        "no identity",
        |data| Ok(fs::remove_file(data.join("identity"))?),
        "identity",
        "discard",
    ),
    (
        "a flip in the node's id",
        |data| flip(&data.join("identity"), 16, 0),
        "identity",
        "discard",
    ),
    (
        "a flip in the middle of the identity",
        |data| flip_middle(&data.join("identity")),
        "identity",
        "discard",
    ),
    (
        "a flip in the format",
        |data| flip(&data.join("FORMAT"), 0, 1),
        "format",
        "repair",
    ),
    (
        "no format",
        |data| Ok(fs::remove_file(data.join("FORMAT"))?),
        "format",
        "repair",
    ),
    (
        "no CURRENT of the rows",
        |data| {
            Ok(fs::remove_file(
                newest(&data.join("state"), "MANIFEST")?.with_file_name("CURRENT"),
            )?)
        },
        "state",
        "repair-from-peers",
    ),
    (
        "no table of the rows",
        |data| Ok(fs::remove_file(newest(&data.join("state"), ".sst")?)?),
        "state",
        "repair-from-peers",
    ),
    (
        "no pointer to the rows",
        |data| Ok(fs::remove_file(data.join("state/CURRENT"))?),
        "state",
        "repair-from-peers",
    ),
    (
        "neither rows nor members",
        |data| {
            fs::remove_file(data.join("snapshots/taken"))?;
            Ok(fs::remove_file(newest(&data.join("state"), ".sst")?)?)
        },
        "state",
        "discard",
    ),
    (
        "a flip in an audit segment",
        |data| flip_middle(&newest(&data.join("audit"), ".seg")?),
        "audit",
        "repair-from-peers",
    ),
    (
        "a cut audit segment",
        |data| {
            let segment = newest(&data.join("audit"), ".seg")?;
            let bytes = fs::read(&segment)?;
            Ok(fs::write(&segment, &bytes[..bytes.len() - 7])?)
        },
        "audit",
        "repair-from-peers",
    ),
    (
        "no audit segment",
        |data| Ok(fs::remove_file(newest(&data.join("audit"), ".seg")?)?),
        "audit",
        "repair-from-peers",
    ),
    (
        "a flip in the members",
        |data| flip_middle(&data.join("snapshots/taken")),
        "snapshots",
        "repair",
    ),
];
