//! What this machine is, and what it permits us.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::{env, fs};

use anyhow::{Result, bail};

use crate::cmd;

/// Capabilities the namespace labs and packet tests use, by their bit in `linux/capability.h`.
const LAB_CAPABILITIES: [(u32, &str); 3] = [
    (12, "CAP_NET_ADMIN"),
    (21, "CAP_SYS_ADMIN"),
    (39, "CAP_BPF"),
];

/// Who we are to the kernel.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Privilege {
    root: bool,
    missing: Vec<&'static str>,
}

impl Privilege {
    /// Of this process; none if the kernel does not say.
    pub fn probe() -> Self {
        Self::parse(&fs::read_to_string("/proc/self/status").unwrap_or_default())
    }

    /// From the text of `/proc/PID/status` (`Uid:` real effective ..; `CapEff:` hexadecimal).
    fn parse(status: &str) -> Self {
        let field = |name: &str| {
            status
                .lines()
                .find_map(|line| line.strip_prefix(name))
                .unwrap_or("")
        };
        let effective = u64::from_str_radix(field("CapEff:").trim(), 16).unwrap_or(0);
        Self {
            root: field("Uid:").split_whitespace().nth(1) == Some("0"),
            missing: LAB_CAPABILITIES
                .iter()
                .filter(|(bit, _)| effective & (1 << bit) == 0)
                .map(|(_, name)| *name)
                .collect(),
        }
    }

    /// Effective user id 0: may install packages.
    pub fn is_root(&self) -> bool {
        self.root
    }

    /// Why labs and packet tests cannot run here, if they cannot.
    pub fn lab_obstacle(&self) -> Option<String> {
        if !self.root {
            Some("needs root".to_owned())
        } else if self.missing.is_empty() {
            None
        } else {
            Some(format!("needs {}", self.missing.join(", ")))
        }
    }
}

/// Refuses, with the fix, unless namespaces and BPF programs can be made here; mounts the BPF
/// filesystem where there is none.
pub fn require_lab(verb: &str) -> Result<()> {
    match Privilege::probe().lab_obstacle() {
        None => mount_bpffs(),
        Some(obstacle) => bail!(
            "`cargo xtask {verb}` {obstacle} to make network namespaces and load the XDP program; run it as: sudo -E env \"PATH=$PATH\" cargo xtask {verb}"
        ),
    }
}

/// Where systemd mounts the BPF filesystem; a machine without systemd may have none.
const BPFFS: &str = "/sys/fs/bpf";

/// Mounts the BPF filesystem unless it is there, and says so.
pub fn mount_bpffs() -> Result<()> {
    let mounts = fs::read_to_string("/proc/mounts").unwrap_or_default();
    if has_bpffs(&mounts) {
        return Ok(());
    }
    println!("mount     bpf filesystem on {BPFFS}");
    cmd::run(Command::new("mount").args(["-t", "bpf", "bpf", BPFFS]))
}

fn has_bpffs(mounts: &str) -> bool {
    mounts.lines().any(|line| {
        let mut fields = line.split(' ').skip(1);
        fields.next() == Some(BPFFS) && fields.next() == Some("bpf")
    })
}

/// Debian, Ubuntu or a relative, with apt.
pub fn is_debian() -> bool {
    find_program("apt-get").is_some()
        && fs::read_to_string("/etc/os-release").is_ok_and(|text| says_debian(&text))
}

fn says_debian(os_release: &str) -> bool {
    os_release
        .lines()
        .filter_map(|line| line.split_once('='))
        .filter(|(key, _)| ["ID", "ID_LIKE"].contains(key))
        .flat_map(|(_, value)| value.trim_matches('"').split(' '))
        .any(|id| id == "debian" || id == "ubuntu")
}

/// True in a CI run (`CI=true`): there a skip is a failure.
pub fn is_ci() -> bool {
    env::var("CI").is_ok_and(|value| value == "true" || value == "1")
}

/// The first executable of that name on PATH or in the administrator's folders.
pub fn find_program(name: &str) -> Option<PathBuf> {
    programs(name).into_iter().next()
}

/// All executables of that name, PATH first; a user's PATH often lacks the sbin folders.
pub fn programs(name: &str) -> Vec<PathBuf> {
    let path = env::var_os("PATH").unwrap_or_default();
    let mut found = Vec::new();
    for folder in
        env::split_paths(&path).chain(["/usr/bin", "/usr/sbin", "/sbin"].map(PathBuf::from))
    {
        let program = folder.join(name);
        if is_executable(&program) && !found.contains(&program) {
            found.push(program);
        }
    }
    found
}

fn is_executable(path: &Path) -> bool {
    use std::os::unix::fs::PermissionsExt as _;
    fs::metadata(path).is_ok_and(|meta| meta.is_file() && meta.permissions().mode() & 0o111 != 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    const ROOT: &str = "Name:\tx\nUid:\t0\t0\t0\t0\nCapEff:\t000001ffffffffff\n";

    #[test]
    fn root_with_all_capabilities_may_run_labs() {
        let privilege = Privilege::parse(ROOT);
        assert!(privilege.is_root());
        assert_eq!(privilege.lab_obstacle(), None);
    }

    #[test]
    fn a_mounted_bpf_filesystem_is_recognized() {
        assert!(has_bpffs(
            "proc /proc proc rw 0 0\nbpf /sys/fs/bpf bpf rw 0 0\n"
        ));
        assert!(!has_bpffs(
            "sysfs /sys sysfs rw 0 0\ntmpfs /sys/fs/bpf tmpfs rw 0 0\n"
        ));
    }

    #[test]
    fn a_user_may_not() {
        let privilege =
            Privilege::parse("Uid:\t1000\t1000\t1000\t1000\nCapEff:\t0000000000000000\n");
        assert!(!privilege.is_root());
        assert_eq!(privilege.lab_obstacle().as_deref(), Some("needs root"));
    }

    #[test]
    fn root_of_a_container_is_told_what_it_lacks() {
        let privilege = Privilege::parse("Uid:\t0\t0\t0\t0\nCapEff:\t00000000a80435fb\n");
        assert!(privilege.is_root());
        assert_eq!(
            privilege.lab_obstacle().as_deref(),
            Some("needs CAP_SYS_ADMIN, CAP_BPF")
        );
    }

    #[test]
    fn debian_and_its_relatives() {
        assert!(says_debian("NAME=x\nID=debian\n"));
        assert!(says_debian("ID=ubuntu\nID_LIKE=debian\n"));
        assert!(says_debian("ID=pop\nID_LIKE=\"ubuntu debian\"\n"));
        assert!(!says_debian("ID=fedora\nHOME_URL=\"debian\"\n"));
    }

    #[test]
    fn programs_are_found_by_name() {
        assert!(find_program("sh").is_some());
        assert!(find_program("no-such-program-here").is_none());
    }
}
