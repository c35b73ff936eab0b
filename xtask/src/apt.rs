//! Debian packages, installed by name and announced.

use std::process::Command;
use std::sync::OnceLock;

use anyhow::{Context as _, Result, bail};

use crate::machine::{self, Privilege};
use crate::{cmd, workspace};

/// Installs packages, saying so, or fails in one line with the command to run.
///
/// The package lists are fetched first, once: a fresh container has none, and old ones name a
/// compiler that is too old.
pub fn install(packages: &[&str], why: &str) -> Result<()> {
    let names = packages.join(" ");
    let by_hand = format!("fix: sudo apt-get update && sudo apt-get install {names}");
    if !machine::is_debian() {
        bail!("{why}: install what Debian calls {names}");
    }
    if !Privilege::probe().is_root() {
        bail!("{why}: installing needs root; {by_hand}");
    }
    println!("installing {names} ({why})");
    let log = workspace::log("xtask-install.log");
    let mut install = Command::new("apt-get");
    install
        // Another apt, for instance the daily one, may hold the lock for a minute.
        .args(["-o", "DPkg::Lock::Timeout=120", "-q", "-y"])
        .args(["install", "--no-install-recommends"])
        .args(packages)
        .env("DEBIAN_FRONTEND", "noninteractive");
    static UPDATED: OnceLock<()> = OnceLock::new();
    UPDATED.get_or_init(|| {
        // Without a network what is in the cache may do; the installation says if it does not.
        let _ = cmd::logged(Command::new("apt-get").args(["-q", "update"]), &log);
    });
    cmd::logged(&mut install, &log)
        .with_context(|| format!("{why}: is the network there? {by_hand}"))
}
