//! The file with the key of a static seal.
//!
//! It must be its owner's alone: who else can read it can open every copy of the data. What systemd passes as a credential is let
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
    #[error("cannot read the key file {path}: {source}")]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// It is a directory, a pipe, or the like.
    #[error("the key file {path} is no ordinary file")]
    NotAFile {
        /// What was named.
        path: PathBuf,
    },
    /// Others than its owner have access.
    #[error("the key file {path} can be read or changed by others (mode {mode:04o}); run `chmod 600 {path}`")]
    Mode {
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
}

/// Reads a key file, if it is its owner's alone.
///
/// # Errors
/// [`KeyFileError`] says what is wrong and what to do.
pub fn read(path: &Path) -> Result<StaticKey, KeyFileError> {
    let credentials = std::env::var_os("CREDENTIALS_DIRECTORY").map(PathBuf::from);
    read_from(path, credentials.as_deref())
}

/// `credentials` is where systemd puts what it passes to this process.
fn read_from(path: &Path, credentials: Option<&Path>) -> Result<StaticKey, KeyFileError> {
    let failed = |source| KeyFileError::Read {
        path: path.to_owned(),
        source,
    };
    // Looked at before it is opened, as opening a pipe would wait; and once more after, when it cannot be exchanged any more.
    check(path, &fs::metadata(path).map_err(failed)?, credentials)?;
    let file = File::open(path).map_err(failed)?;
    check(path, &file.metadata().map_err(failed)?, credentials)?;
    let mut text = Vec::with_capacity(KEY_FILE_BYTES_MAX);
    let read = file.take(KEY_FILE_BYTES_MAX as u64).read_to_end(&mut text);
    let text = SecretBytes::new(text);
    read.map_err(failed)?;
    StaticKey::parse(text.expose()).map_err(|source| KeyFileError::Malformed {
        path: path.to_owned(),
        source,
    })
}

fn check(path: &Path, metadata: &Metadata, credentials: Option<&Path>) -> Result<(), KeyFileError> {
    if !metadata.is_file() {
        return Err(KeyFileError::NotAFile { path: path.to_owned() });
    }
    let mode = metadata.permissions().mode() & 0o7777;
    let is_credential = metadata.uid() == 0 && credentials.is_some_and(|directory| path.starts_with(directory));
    let refused = if is_credential { 0o037 } else { 0o077 };
    if mode & refused != 0 {
        return Err(KeyFileError::Mode {
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
