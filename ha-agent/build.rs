//! Puts the XDP object where `aya::include_bytes_aligned!` finds it.
//!
//! The object is `$HA_EBPF_OBJ`, or `target/bpf/ha-ebpf.o` as `cargo xtask build-ebpf`
//! leaves it. Without one the agent is built all the same and carries an empty file,
//! which it reports as "carries no program".

use std::path::{Path, PathBuf};
use std::time::SystemTime;
use std::{env, error, fs, io};

fn main() -> Result<(), Box<dyn error::Error>> {
    println!("cargo:rerun-if-changed=build.rs");
    println!("cargo:rerun-if-env-changed=HA_EBPF_OBJ");

    let embedded = PathBuf::from(env::var("OUT_DIR")?).join("ha-ebpf.o");
    let named = env::var_os("HA_EBPF_OBJ").filter(|path| !path.is_empty());
    let object = match &named {
        Some(path) => PathBuf::from(path),
        None => Path::new(&env::var("CARGO_MANIFEST_DIR")?).join("../target/bpf/ha-ebpf.o"),
    };
    if named.is_none() {
        // Cargo takes a watched file that does not exist for a changed one and would build
        // the agent anew each time. An empty file says the same and can be watched.
        // Where it cannot be written, slower builds are the only consequence.
        let _ = touch(&object);
    }
    println!("cargo:rerun-if-changed={}", object.display());

    let bytes = match fs::read(&object) {
        Ok(bytes) => bytes,
        Err(e) if named.is_none() && e.kind() == io::ErrorKind::NotFound => Vec::new(),
        Err(e) => return Err(format!("read {}: {e}", object.display()).into()),
    };
    if bytes.is_empty() {
        println!(
            "cargo:warning=no XDP program to embed, the agent will carry none: run `cargo xtask build-ebpf`, then build again"
        );
    }
    fs::write(&embedded, bytes).map_err(|e| format!("write {}: {e}", embedded.display()))?;
    Ok(())
}

/// Creates an empty file unless there is one; an old one, as cargo would take a file younger
/// than this run for a change and build once more.
fn touch(path: &Path) -> io::Result<()> {
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder)?;
    }
    match fs::File::create_new(path) {
        Ok(file) => file.set_modified(SystemTime::UNIX_EPOCH),
        Err(e) if e.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        Err(e) => Err(e),
    }
}
