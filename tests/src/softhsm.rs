//! A PKCS#11 token on this machine: SoftHSM, with a directory of its own.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, ensure};

/// A token in software. What runs with its environment sees it, and no other.
pub struct SoftHsm {
    directory: tempfile::TempDir,
    configuration: String,
}

impl SoftHsm {
    /// The label of its token.
    pub const LABEL: &str = "aumbry-test";
    /// The user's PIN.
    pub const PIN: &str = "pin-canary-4711";

    /// Makes a token without keys.
    pub fn make() -> Result<Self> {
        let directory = tempfile::tempdir()?;
        let configuration = directory.path().join("softhsm2.conf");
        let hsm = Self {
            configuration: configuration.to_string_lossy().into_owned(),
            directory,
        };
        let text = format!(
            "directories.tokendir = {}\nobjectstore.backend = file\nlog.level = ERROR\n",
            hsm.tokens().display()
        );
        std::fs::write(&configuration, text)?;
        hsm.make_token()?;
        Ok(hsm)
    }

    /// Makes a token without keys where there is none.
    pub fn make_token(&self) -> Result<()> {
        std::fs::create_dir(self.tokens())?;
        let made = Command::new("softhsm2-util")
            .args([
                "--init-token",
                "--free",
                "--label",
                Self::LABEL,
                "--so-pin",
                "officer-4711",
                "--pin",
                Self::PIN,
            ])
            .env(Self::VARIABLE, &self.configuration)
            .output()
            .context("softhsm2-util cannot be run; `cargo xtask setup` installs what the tests need")?;
        ensure!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
        Ok(())
    }

    /// What a process that is to see the token has in its environment.
    #[must_use]
    pub fn environment(&self) -> (&'static str, &str) {
        (Self::VARIABLE, &self.configuration)
    }

    /// The module, where Debian and others put it.
    pub fn module() -> Result<PathBuf> {
        let usual = [
            "/usr/lib/softhsm/libsofthsm2.so",
            "/usr/lib64/softhsm/libsofthsm2.so",
            "/usr/lib64/pkcs11/libsofthsm2.so",
        ];
        let found = usual.iter().map(PathBuf::from).find(|path| path.is_file());
        found.context("libsofthsm2.so is nowhere; `cargo xtask setup` installs what the tests need")
    }

    /// Where the token is: moved away, it is gone; put back, it is there again.
    #[must_use]
    pub fn tokens(&self) -> PathBuf {
        self.at("tokens")
    }

    /// A place beside it.
    #[must_use]
    pub fn at(&self, name: &str) -> PathBuf {
        Path::new(self.directory.path()).join(name)
    }

    const VARIABLE: &str = "SOFTHSM2_CONF";
}
