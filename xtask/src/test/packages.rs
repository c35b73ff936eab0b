//! What the labs run besides our own programs.

use anyhow::Result;

use crate::{apt, machine};

/// A program the labs run, and the Debian package it comes from.
const NEEDED: [(&str, &str); 9] = [
    ("keepalived", "keepalived"),
    ("bpftool", "bpftool"),
    ("tcpdump", "tcpdump"),
    ("ip", "iproute2"),
    ("arping", "iputils-arping"),
    ("ping", "iputils-ping"),
    ("ethtool", "ethtool"),
    ("nft", "nftables"),
    ("sysctl", "procps"),
];

/// Installs what is missing, or says in one line what to install.
pub fn ensure() -> Result<()> {
    match missing(|program| machine::find_program(program).is_some()).as_slice() {
        [] => Ok(()),
        packages => apt::install(packages, "programs the labs run"),
    }
}

fn missing(is_there: impl Fn(&str) -> bool) -> Vec<&'static str> {
    NEEDED
        .iter()
        .filter(|(program, _)| !is_there(program))
        .map(|(_, package)| *package)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packages_of_missing_programs_are_named() {
        assert_eq!(missing(|_| true), [""; 0]);
        assert_eq!(
            missing(|p| p != "nft" && p != "ip"),
            ["iproute2", "nftables"]
        );
    }
}
