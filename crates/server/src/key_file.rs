//! Files with what opens a seal: a static key, a token's PIN, a token of another cluster.
//!
//! Such a file must be its owner's alone: who else can read it can open every copy of the data. What systemd passes as a credential is let
//! through with the bits by which it grants the service's user access: they are the mask of an access list, not a group's.

use std::fs::{self, File, Metadata};
use std::io::{self, Read as _};
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use aumbry_crypto::seal::{MalformedStaticKey, StaticKey};
use aumbry_types::SecretBytes;

/// Why a key file was not taken. Nothing of its content is told.
#[derive(Debug, thiserror::Error)]
pub enum KeyFileError {
    /// It is not there, or cannot be read.
    #[error("cannot read the {what} {path}: {source}")]
    Read {
        /// What it is to hold.
        what: &'static str,
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// It is a directory, a pipe, or the like.
    #[error("the {what} {path} is no ordinary file")]
    NotAFile {
        /// What it is to hold.
        what: &'static str,
        /// What was named.
        path: PathBuf,
    },
    /// Others than its owner have access.
    #[error("the {what} {path} can be read or changed by others (mode {mode:04o}); run `chmod 600 {path}`")]
    Mode {
        /// What it is to hold.
        what: &'static str,
        /// The file.
        path: PathBuf,
        /// Its mode.
        mode: u32,
    },
    /// It holds something else.
    #[error("the key file {path} cannot be used: {source}")]
    Malformed {
        /// The file.
        path: PathBuf,
        /// What it should hold.
        source: MalformedStaticKey,
    },
    /// It holds nothing, or more than a line.
    #[error("the {what} {path} holds nothing that can be used: one line of 1 to 510 characters is expected")]
    NotALine {
        /// What it is to hold.
        what: &'static str,
        /// The file.
        path: PathBuf,
    },
}

/// Reads a key file, if it is its owner's alone.
///
/// # Errors
/// [`KeyFileError`] says what is wrong and what to do.
pub fn read(path: &Path) -> Result<StaticKey, KeyFileError> {
    let credentials = std::env::var_os("CREDENTIALS_DIRECTORY").map(PathBuf::from);
    read_from(path, credentials.as_deref())
}

/// Reads the one line of a file that is its owner's alone: a PIN, a token. `what` names it in errors.
pub(crate) fn read_secret(path: &Path, what: &'static str) -> Result<SecretBytes, KeyFileError> {
    let credentials = std::env::var_os("CREDENTIALS_DIRECTORY").map(PathBuf::from);
    let text = read_private(path, what, credentials.as_deref())?;
    let line = text.expose().trim_ascii();
    if line.is_empty() || line.len() > KEY_FILE_BYTES_MAX - 2 || line.iter().any(u8::is_ascii_control) {
        let path = path.to_owned();
        return Err(KeyFileError::NotALine { what, path });
    }
    Ok(SecretBytes::new(line.to_vec()))
}

/// `credentials` is where systemd puts what it passes to this process.
fn read_from(path: &Path, credentials: Option<&Path>) -> Result<StaticKey, KeyFileError> {
    let text = read_private(path, "key file", credentials)?;
    StaticKey::parse(text.expose()).map_err(|source| KeyFileError::Malformed {
        path: path.to_owned(),
        source,
    })
}

fn read_private(path: &Path, what: &'static str, credentials: Option<&Path>) -> Result<SecretBytes, KeyFileError> {
    let failed = |source| KeyFileError::Read {
        what,
        path: path.to_owned(),
        source,
    };
    // Looked at before it is opened, as opening a pipe would wait; and once more after, when it cannot be exchanged any more.
    check(path, what, &fs::metadata(path).map_err(failed)?, credentials)?;
    let file = File::open(path).map_err(failed)?;
    check(path, what, &file.metadata().map_err(failed)?, credentials)?;
    let mut text = Vec::with_capacity(KEY_FILE_BYTES_MAX);
    let read = file.take(KEY_FILE_BYTES_MAX as u64).read_to_end(&mut text);
    let text = SecretBytes::new(text);
    read.map_err(failed)?;
    Ok(text)
}

fn check(path: &Path, what: &'static str, metadata: &Metadata, credentials: Option<&Path>) -> Result<(), KeyFileError> {
    if !metadata.is_file() {
        let path = path.to_owned();
        return Err(KeyFileError::NotAFile { what, path });
    }
    let mode = metadata.permissions().mode() & 0o7777;
    let is_credential = metadata.uid() == 0 && credentials.is_some_and(|directory| path.starts_with(directory));
    let refused = if is_credential { 0o037 } else { 0o077 };
    if mode & refused != 0 {
        return Err(KeyFileError::Mode {
            what,
            path: path.to_owned(),
            mode,
        });
    }
    Ok(())
}

/// Some lines more than the one that is expected, which are refused.
const KEY_FILE_BYTES_MAX: usize = 512;

#[cfg(test)]
mod tests {
    use std::fs::Permissions;

    use aumbry_types::SimulatedEntropy;

    use super::*;

    #[test]
    fn only_what_is_its_owners_alone_is_read() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("key");
        let key = StaticKey::make(&SimulatedEntropy::new(1));
        fs::write(&path, key.expose_text().expose()).unwrap();
        let read = |mode, credentials: Option<&Path>| {
            fs::set_permissions(&path, Permissions::from_mode(mode)).unwrap();
            read_from(&path, credentials)
        };
        for mode in [0o600, 0o400] {
            assert_eq!(read(mode, None).ok().map(|key| key.id()), Some(key.id()));
        }
        for mode in [0o640, 0o620, 0o604, 0o602, 0o610, 0o601, 0o644, 0o777] {
            let error = read(mode, None).err().unwrap().to_string();
            assert!(
                error.contains(&format!("mode {mode:04o}")) && error.contains("chmod 600"),
                "{error}"
            );
        }
        // Systemd's own are root's, and only they: whoever is not root cannot make one here.
        let is_root = fs::metadata(&path).unwrap().uid() == 0;
        assert_eq!(read(0o440, Some(directory.path())).is_ok(), is_root);
        assert!(read(0o440, Some(Path::new("/run/credentials/other"))).is_err());
        assert!(read(0o444, Some(directory.path())).is_err());
        assert!(read(0o460, Some(directory.path())).is_err());
    }

    #[test]
    fn a_secret_is_one_line() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("pin");
        let read = |content: &str| {
            fs::write(&path, content).unwrap();
            fs::set_permissions(&path, Permissions::from_mode(0o600)).unwrap();
            read_secret(&path, "PIN file")
        };
        assert_eq!(read(" 12 34\n").unwrap().expose(), b"12 34");
        for content in ["", "\n", "12\n34\n", &"x".repeat(511)] {
            let error = read(content).err().unwrap().to_string();
            assert!(error.starts_with("the PIN file") && !error.contains("12"), "{error}");
        }
    }

    #[test]
    fn what_is_no_key_is_told_without_its_content() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("key");
        let told = |path: &Path| read_from(path, None).err().unwrap().to_string();
        assert!(told(&path).contains("cannot read"), "{}", told(&path));
        assert!(told(directory.path()).contains("no ordinary file"));
        let long = "x".repeat(10_000);
        for content in ["", "hunter2", &long] {
            fs::write(&path, content).unwrap();
            fs::set_permissions(&path, Permissions::from_mode(0o600)).unwrap();
            let text = told(&path);
            assert!(
                text.contains("64 hexadecimal digits") && !text.contains("hunter2"),
                "{text}"
            );
        }
    }
}
