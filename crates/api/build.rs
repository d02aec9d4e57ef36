//! Compiles the protocol files. `protox` reads them, so no `protoc` is needed.

use std::path::{Path, PathBuf};

use protox::prost::Message as _;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    // Relative to the package, which is where Cargo runs this: a path fixed at compile time would be that of another checkout when
    // two share a target directory.
    let root = Path::new("../../proto");
    println!("cargo:rerun-if-changed={}", root.display());
    let mut files = Vec::new();
    find(root, &mut files)?;
    files.sort();
    for file in &files {
        println!("cargo:rerun-if-changed={}", file.display());
    }
    let descriptors = protox::compile(&files, [root])?;
    let mut of_clients = descriptors.clone();
    of_clients.file.retain(|file| file.package() != "aumbry.peer.v1");
    let out = PathBuf::from(std::env::var("OUT_DIR")?);
    std::fs::write(out.join("aumbry.v1.bin"), of_clients.encode_to_vec())?;
    tonic_prost_build::configure()
        .bytes(".")
        .btree_map(".")
        // Messages carry tokens, shares and values: none of them has Debug, so none can be logged by mistake.
        .skip_debug(["."])
        .compile_fds(descriptors)?;
    Ok(())
}

fn find(directory: &Path, files: &mut Vec<PathBuf>) -> std::io::Result<()> {
    for entry in std::fs::read_dir(directory)? {
        let path = entry?.path();
        if path.is_dir() {
            find(&path, files)?;
        } else if path.extension().is_some_and(|extension| extension == "proto") {
            files.push(path);
        }
    }
    Ok(())
}
