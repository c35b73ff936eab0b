//! One network namespace with a name, removed with everything that runs in it.

use std::fs::{self, File};
use std::os::fd::AsFd as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, bail};
use rustix::process::{Pid, Signal, kill_process};
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

use super::cleanup::{self, Thing};
use crate::cmd;

/// Where `ip netns` keeps its names.
const FOLDER: &str = "/run/netns";

/// A network namespace of ours.
#[derive(Debug)]
pub struct Netns {
    name: String,
    file: File,
}

impl Netns {
    /// Makes the namespace; it goes when the value is dropped.
    pub fn create(name: &str) -> Result<Self> {
        cmd::stdout(Command::new("ip").args(["netns", "add", name]))?;
        cleanup::remember(Thing::Namespace(name.to_owned()));
        let path = path(name);
        let file = File::open(&path).with_context(|| format!("open {}", path.display()))?;
        let this = Self {
            name: name.to_owned(),
            file,
        };
        this.batch("link set lo up\n")?;
        Ok(this)
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The file to give to `nsenter --net=`.
    pub fn path(&self) -> PathBuf {
        path(&self.name)
    }

    /// An open descriptor of the namespace, for `setns` in a child.
    pub(super) fn file(&self) -> Result<File> {
        self.file
            .try_clone()
            .context("duplicate a namespace's descriptor")
    }

    /// Runs `work` on a thread of its own inside the namespace. Sockets it opens stay there.
    pub fn within<T: Send>(&self, work: impl FnOnce() -> T + Send) -> Result<T> {
        std::thread::scope(|scope| {
            let inside = scope.spawn(|| {
                enter(&self.file)?;
                Ok(work())
            });
            match inside.join() {
                Ok(done) => done,
                Err(panic) => std::panic::resume_unwind(panic),
            }
        })
    }

    /// Runs `ip -batch` commands, one per line, inside the namespace.
    pub fn batch(&self, lines: &str) -> Result<()> {
        for line in lines.lines().filter(|line| !line.trim().is_empty()) {
            cmd::stdout(
                Command::new("ip")
                    .args(["-n", &self.name])
                    .args(line.split_whitespace()),
            )?;
        }
        Ok(())
    }

    /// What `ip -n NAME ARGUMENTS` prints.
    pub fn ip(&self, arguments: &[&str]) -> Result<String> {
        cmd::stdout(Command::new("ip").args(["-n", &self.name]).args(arguments))
    }

    /// A tool to be run inside, by way of `nsenter`, which unlike `ip netns exec` leaves
    /// `/sys` and with it the BPF file system in place.
    pub fn tool(&self, program: &str) -> Command {
        let mut command = Command::new("nsenter");
        command
            .arg(format!("--net={}", self.path().display()))
            .arg(program);
        command
    }

    /// Writes a file below `/proc/sys/net`.
    pub fn sysctl(&self, key: &str, value: &str) -> Result<()> {
        let path = Path::new("/proc/sys/net").join(key);
        self.within(|| fs::write(&path, value))?
            .with_context(|| format!("write {value} to {} in {}", path.display(), self.name))
    }

    /// Leaves the namespace where it is when the value is dropped.
    pub(super) fn keep(&self) {
        cleanup::forget(&Thing::Namespace(self.name.clone()));
    }
}

impl Drop for Netns {
    fn drop(&mut self) {
        let thing = Thing::Namespace(self.name.clone());
        if cleanup::is_left(&thing) {
            remove(&self.name);
            cleanup::forget(&thing);
        }
    }
}

/// Moves the calling thread into a namespace.
pub(super) fn enter(file: &File) -> Result<()> {
    move_into_link_name_space(file.as_fd(), Some(LinkNameSpaceType::Network))
        .context("enter a network namespace")
}

/// Names of namespaces that begin with `prefix`.
pub(super) fn named(prefix: &str) -> Vec<String> {
    fs::read_dir(FOLDER)
        .into_iter()
        .flatten()
        .filter_map(|entry| entry.ok()?.file_name().into_string().ok())
        .filter(|name| name.starts_with(prefix))
        .collect()
}

/// Ends what runs in a namespace of ours and deletes it.
pub(super) fn remove(name: &str) {
    let Ok(inode) = fs::metadata(path(name)).map(|meta| meta.ino()) else {
        return;
    };
    for pid in inhabitants(inode) {
        let _ = kill_process(pid, Signal::KILL);
    }
    if let Err(e) = delete(name) {
        eprintln!("{e:#}");
    }
}

fn delete(name: &str) -> Result<()> {
    let done = cmd::captured(Command::new("ip").args(["netns", "delete", name]))?;
    if !done.status.success() && path(name).exists() {
        bail!(
            "`ip netns delete {name}`: {}",
            String::from_utf8_lossy(&done.stderr).trim()
        );
    }
    Ok(())
}

/// Processes, other than this one, whose network namespace has that inode.
fn inhabitants(inode: u64) -> Vec<Pid> {
    let own = std::process::id().to_string();
    fs::read_dir("/proc")
        .into_iter()
        .flatten()
        .filter_map(|entry| entry.ok()?.file_name().into_string().ok())
        .filter(|name| *name != own && name.bytes().all(|b| b.is_ascii_digit()))
        .filter(|name| {
            fs::metadata(format!("/proc/{name}/ns/net")).is_ok_and(|meta| meta.ino() == inode)
        })
        .filter_map(|name| Pid::from_raw(name.parse().ok()?))
        .collect()
}

fn path(name: &str) -> PathBuf {
    Path::new(FOLDER).join(name)
}
