//! One child process in a namespace, ended when its guard goes.

use std::fs::{self, File};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

use anyhow::{Context as _, Result};
pub use rustix::process::Signal;
use rustix::process::{Pid, kill_process};

use super::cleanup::{self, Thing};
use super::clock::wait_until;
use super::netns::{self, Netns};
use crate::cmd;

/// Lines of a process's log that a failing test shows.
const SHOWN: usize = 60;

/// A child process; dropped, it and its children are killed and waited for.
#[derive(Debug)]
pub struct Process {
    child: Child,
    shown: String,
    log: PathBuf,
    kept: bool,
}

impl Process {
    /// Starts a command inside a namespace, its output appended to a file.
    pub fn spawn(netns: &Netns, mut command: Command, log: &Path) -> Result<Self> {
        let inside = netns.file()?;
        let output = File::options()
            .create(true)
            .append(true)
            .open(log)
            .with_context(|| format!("write {}", log.display()))?;
        command
            .stdin(Stdio::null())
            .stdout(output.try_clone()?)
            .stderr(output)
            .process_group(0);
        // SAFETY: between fork and exec the closure makes one system call and allocates only
        // if that fails.
        unsafe {
            command.pre_exec(move || netns::enter(&inside).map_err(std::io::Error::other));
        }
        let shown = cmd::shown(&command);
        let child = command.spawn().with_context(|| format!("run `{shown}`"))?;
        cleanup::remember(Thing::Process(child.id().cast_signed()));
        Ok(Self {
            child,
            shown,
            log: log.to_owned(),
            kept: false,
        })
    }

    /// Its process id.
    pub fn pid(&self) -> i32 {
        self.child.id().cast_signed()
    }

    /// Its process id and those of its children.
    pub fn tree(&self) -> Vec<i32> {
        let below = children(self.pid());
        std::iter::once(self.pid())
            .chain(below.into_iter().map(Pid::as_raw_pid))
            .collect()
    }

    /// Signals the process itself.
    pub fn signal(&self, signal: Signal) -> Result<()> {
        kill_process(Pid::from_child(&self.child), signal)
            .with_context(|| format!("send {signal:?} to `{}`", self.shown))
    }

    /// Signals the process and then its children, as a power cut or a freeze would hit them.
    pub fn signal_tree(&self, signal: Signal) -> Result<()> {
        let children = children(self.pid());
        self.signal(signal)?;
        for child in children {
            let _ = kill_process(child, signal);
        }
        Ok(())
    }

    /// Whether it still runs.
    pub fn is_running(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(None))
    }

    /// Waits until it has ended.
    pub fn wait(&mut self, limit: Duration) -> Result<ExitStatus> {
        let mut status = None;
        wait_until(&format!("the end of `{}`", self.shown), limit, || {
            status = self.child.try_wait().ok().flatten();
            status.is_some()
        })?;
        status.with_context(|| format!("wait for `{}`", self.shown))
    }

    /// What it has written so far.
    pub fn log(&self) -> String {
        fs::read_to_string(&self.log).unwrap_or_default()
    }

    /// Where it writes.
    pub fn log_path(&self) -> &Path {
        &self.log
    }

    /// Lets the process run on when the guard is dropped.
    pub(super) fn keep(&mut self) {
        self.kept = true;
        cleanup::forget(&Thing::Process(self.pid()));
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if self.kept {
            return;
        }
        if self.is_running() {
            kill_tree(self.pid());
        }
        cleanup::forget(&Thing::Process(self.pid()));
        let _ = self.child.wait();
        if std::thread::panicking() {
            eprintln!(
                "---- last lines of `{}` ----\n{}",
                self.shown,
                last_lines(&self.log())
            );
        }
    }
}

fn last_lines(text: &str) -> String {
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(SHOWN)..].join("\n")
}

/// Kills a child of ours and its children, the parent first so that it restarts none.
pub(super) fn kill_tree(pid: i32) {
    let children = children(pid);
    for pid in Pid::from_raw(pid).into_iter().chain(children) {
        let _ = kill_process(pid, Signal::KILL);
    }
}

fn children(pid: i32) -> Vec<Pid> {
    fs::read_to_string(format!("/proc/{pid}/task/{pid}/children"))
        .unwrap_or_default()
        .split_whitespace()
        .filter_map(|child| Pid::from_raw(child.parse().ok()?))
        .collect()
}
