//! `cargo xtask build`: the release binary, its XDP program inside.

use std::fs;
use std::path::PathBuf;

use anyhow::{Context as _, Result, bail};

use crate::{build_ebpf, cmd, workspace};

/// Builds the object for the kernel, then the agent; prints where it is and its size.
pub fn run() -> Result<()> {
    build_ebpf::run()?;
    let binary = agent(&["--release"])?;
    let bytes = fs::metadata(&binary)
        .with_context(|| format!("read {}", binary.display()))?
        .len();
    println!(
        "binary    {} ({} KiB)",
        workspace::short(&binary),
        bytes / 1024
    );
    Ok(())
}

/// Builds `ha-agent` for the host with the given cargo options and returns the binary's path.
pub fn agent(options: &[&str]) -> Result<PathBuf> {
    let mut command = cmd::cargo();
    command
        .args([
            "build",
            "--quiet",
            "--package",
            "ha-agent",
            "--bin",
            "ha-agent",
        ])
        .args(["--message-format", "json-render-diagnostics"])
        .args(options)
        .stderr(std::process::Stdio::inherit());
    let said = cmd::stdout(&mut command)?;
    match executables(&said).pop() {
        Some((_, binary)) => Ok(binary),
        None => bail!("`{}` named no executable", cmd::shown(&command)),
    }
}

/// What cargo's JSON messages say was built to be run: the message and the executable in it.
pub fn executables(messages: &str) -> Vec<(serde_json::Value, PathBuf)> {
    messages
        .lines()
        .filter_map(|line| serde_json::from_str::<serde_json::Value>(line).ok())
        .filter(|message| message["reason"] == "compiler-artifact")
        .filter_map(|message| {
            let path = PathBuf::from(message["executable"].as_str()?);
            Some((message, path))
        })
        .collect()
}
