//! A disk of a node's own: an ext4 file system in a file, that can be filled up, lose its power, and be mounted again.
//!
//! It belongs into a mount namespace of the test (see [`in_mount_namespace`](crate::in_mount_namespace)): however the test ends, the file system
//! and its loop device are gone with it.

use std::fs::{self, File, Permissions};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, ensure};

use crate::cluster::eventually;
use crate::damage::tell;
use crate::native;

/// A mounted disk.
pub struct Volume {
    image: PathBuf,
    mount: PathBuf,
}

impl Volume {
    /// Makes an empty disk of so many bytes, and mounts it. The file takes what is written, not more.
    pub fn make(image: PathBuf, mount: PathBuf, bytes: u64) -> Result<Self> {
        File::create_new(&image)?.set_len(bytes)?;
        // Everything on it is for everybody: nothing is kept for root.
        run("mkfs.ext4", &["-q", "-F", "-m", "0", &image.to_string_lossy()])?;
        fs::create_dir_all(&mount)?;
        let volume = Self { image, mount };
        volume.mount()?;
        fs::remove_dir(volume.mount.join("lost+found"))?;
        fs::set_permissions(&volume.mount, Permissions::from_mode(0o700))?;
        Ok(volume)
    }

    /// How many bytes are free.
    pub fn free(&self) -> Result<u64> {
        let told = run("stat", &["-f", "-c", "%a %S", &self.mount.to_string_lossy()])?;
        let (blocks, size) = told.trim().split_once(' ').context("two numbers")?;
        Ok(blocks.parse::<u64>()? * size.parse::<u64>()?)
    }

    /// Takes all but so many bytes, as another program would.
    pub fn fill(&self, leave: u64) -> Result<()> {
        for filler in (0..FILLERS)
            .map(|n| self.filler(n))
            .filter(|filler| !filler.exists())
            .take(STEPS)
        {
            let room = self.free()?.saturating_sub(leave);
            if room > 0 {
                run("fallocate", &["-l", &room.to_string(), &filler.to_string_lossy()])?;
            }
        }
        Ok(())
    }

    /// Gives back what [`Self::fill`] took.
    pub fn free_up(&self) -> Result<()> {
        for n in 0..FILLERS {
            if self.filler(n).exists() {
                fs::remove_file(self.filler(n))?;
            }
        }
        Ok(())
    }

    /// Cuts the power of several disks at once. Processes that go on get errors, and see one sync or other succeed that did not.
    pub fn cut(volumes: &[&Self]) -> Result<()> {
        let tools = tempfile::tempdir()?;
        let program = native::power_off(tools.path())?;
        let paths: Vec<_> = volumes.iter().map(|volume| volume.mount.to_string_lossy()).collect();
        let paths: Vec<&str> = paths.iter().map(AsRef::as_ref).collect();
        run(&program.to_string_lossy(), &paths).map(drop)
    }

    /// Mounts the disk again: the file system replays its journal. Nobody may have a file on it open.
    pub async fn remount(&self) -> Result<()> {
        let path = self.mount.to_string_lossy();
        eventually("the disk can be unmounted", || async {
            run("umount", &[&path]).is_ok()
        })
        .await?;
        self.mount()
    }

    /// Unmounts it, if that is possible.
    pub(crate) fn unmount(&self) {
        let _ = run("umount", &["--lazy", &self.mount.to_string_lossy()]);
    }

    fn mount(&self) -> Result<()> {
        let (image, mount) = (self.image.to_string_lossy(), self.mount.to_string_lossy());
        run("mount", &["-t", "ext4", "-o", "loop", &image, &mount]).map(drop)
    }

    fn filler(&self, n: u32) -> PathBuf {
        self.mount.join(format!("filler-{n}"))
    }
}

/// Whether disks can be made here. Where they cannot, that is a failure, unless it is said that it may be so.
pub fn can_mount() -> Result<bool> {
    let is_root = run("id", &["-u"])?.trim() == "0";
    let can = is_root && Path::new("/dev/loop-control").exists();
    if can || std::env::var_os(ALLOW_MISSING).is_none_or(|allowed| allowed != "1") {
        ensure!(
            can,
            "this test makes file systems: run it as root, on a kernel with loop devices, or set {ALLOW_MISSING}=1 to leave it out"
        );
        return Ok(true);
    }
    tell("left out: there are no rights to make file systems");
    Ok(false)
}

fn run(program: &str, arguments: &[&str]) -> Result<String> {
    let output = Command::new(program)
        .args(arguments)
        .output()
        .with_context(|| format!("starting {program} (Debian: e2fsprogs, mount, util-linux)"))?;
    ensure!(
        output.status.success(),
        "{program} {}: {}",
        arguments.join(" "),
        String::from_utf8_lossy(&output.stderr).trim()
    );
    Ok(String::from_utf8(output.stdout)?)
}

const FILLERS: u32 = 16;
/// What one allocation takes for itself, the next one corrects.
const STEPS: usize = 2;
/// Says that tests which need rights may be left out.
const ALLOW_MISSING: &str = "AUMBRY_ALLOW_MISSING";
