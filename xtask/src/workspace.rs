//! Where things are.

use std::path::{Path, PathBuf};

/// The folder with the workspace's `Cargo.toml`.
pub fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .expect("xtask is a folder of the workspace")
}

/// Where the object for the kernel is left, and where `ha-agent/build.rs` looks for it.
///
/// Under the workspace whatever `CARGO_TARGET_DIR` says, so that both sides agree.
pub fn bpf_object() -> PathBuf {
    bpf_target().join("ha-ebpf.o")
}

/// The target directory of the BPF build: its own, so that it never waits for, or
/// invalidates, a build for the host.
pub fn bpf_target() -> PathBuf {
    root().join("target/bpf")
}

/// A file of that name in `target/`, for output too long to print.
pub fn log(name: &str) -> PathBuf {
    root().join("target").join(name)
}

/// The path as a reader of the terminal knows it: relative to the workspace if inside.
pub fn short(path: &Path) -> std::path::Display<'_> {
    path.strip_prefix(root()).unwrap_or(path).display()
}
