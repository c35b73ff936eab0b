//! What somebody may have meant.

/// Keys of keepalived.conf, and what says the same here.
const KEEPALIVED: &[(&str, &str)] = &[
    ("virtual_router_id", "write vrid = …"),
    ("advert_int", "write advert_interval = \"1s\""),
    ("nopreempt", "write preempt = false"),
    (
        "state",
        "remove it: every router starts as Backup, priority decides",
    ),
    ("authentication", "write password = …, VRRPv2 only"),
    ("auth_type", "remove it: a password is the only kind"),
    ("auth_pass", "write password = …, VRRPv2 only"),
    ("unicast_src_ip", "write source = …"),
    ("unicast_peer", "write peers = […]"),
    ("virtual_ipaddress", "write addresses = […]"),
    (
        "garp_master_repeat",
        "write count = … in [instance.announce]",
    ),
    (
        "garp_master_delay",
        "write repeat_after = … in [instance.announce]",
    ),
    (
        "garp_master_refresh",
        "write refresh = … in [instance.announce]",
    ),
    ("global_defs", "write [agent]"),
    ("vrrp_instance", "write [[instance]] and name = …"),
];

/// The candidate nearest to `written`, if it is near: one slip in three letters.
pub(super) fn nearest<'c>(
    written: &str,
    candidates: impl IntoIterator<Item = &'c str>,
) -> Option<&'c str> {
    if written.len() > 64 {
        return None;
    }
    let written = written.to_ascii_lowercase().replace('-', "_");
    let slips = (written.chars().count() / 3).max(1);
    candidates
        .into_iter()
        .map(|candidate| (distance(&written, candidate), candidate))
        .filter(|(distance, _)| *distance <= slips)
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate)
}

/// What a key of keepalived.conf is here.
pub(super) fn from_keepalived(key: &str) -> Option<&'static str> {
    let (_, here) = KEEPALIVED.iter().find(|(theirs, _)| *theirs == key)?;
    Some(here)
}

/// Whether a key holds a secret, or was meant to.
pub(super) fn is_secret(key: &str) -> bool {
    // The length first: it is asked of every word of a line.
    (5..=11).contains(&key.len()) && (key == "auth_pass" || nearest(key, ["password"]).is_some())
}

/// Edit distance with swapped neighbours as one slip (optimal string alignment).
fn distance(a: &str, b: &str) -> usize {
    let a: Vec<char> = a.chars().collect();
    let b: Vec<char> = b.chars().collect();
    let mut before: Vec<usize> = Vec::new();
    let mut last: Vec<usize> = (0..=b.len()).collect();
    for i in 1..=a.len() {
        let mut row = vec![i];
        for j in 1..=b.len() {
            let changed = last[j - 1] + usize::from(a[i - 1] != b[j - 1]);
            let mut best = changed.min(last[j] + 1).min(row[j - 1] + 1);
            if i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] {
                best = best.min(before[j - 2] + 1);
            }
            row.push(best);
        }
        before = std::mem::replace(&mut last, row);
    }
    last[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slips_are_found_and_strangers_are_not() {
        let keys = ["vrid", "priority", "preempt", "preempt_delay", "peers"];
        assert_eq!(nearest("vird", keys), Some("vrid"));
        assert_eq!(nearest("Priority", keys), Some("priority"));
        assert_eq!(nearest("preempt-delay", keys), Some("preempt_delay"));
        assert_eq!(nearest("peer", keys), Some("peers"));
        assert_eq!(nearest("colour", keys), None);
        assert_eq!(nearest("", keys), None);
        assert_eq!(nearest(&"x".repeat(1 << 20), keys), None);
    }

    #[test]
    fn secrets_are_known_by_their_key() {
        for key in ["password", "pasword", "passwd", "Password", "auth_pass"] {
            assert!(is_secret(key), "{key}");
        }
        for key in ["peers", "preempt", "addresses", ""] {
            assert!(!is_secret(key), "{key}");
        }
    }
}
