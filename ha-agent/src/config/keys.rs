//! The vocabulary of the file: every table, every key, and an example that a fix can show.

/// A key and a value it may have, as written.
pub(super) type Key = (&'static str, &'static str);

/// The tables of the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Table {
    /// Outside every table.
    Top,
    /// `[agent]`.
    Agent,
    /// `[[instance]]`.
    Instance,
    /// `[instance.announce]`.
    Announce,
    /// An entry of `addresses`.
    Address,
}

impl Table {
    /// All that have a header.
    pub(super) const HEADED: [Self; 3] = [Self::Agent, Self::Instance, Self::Announce];

    /// All whose keys have values.
    pub(super) const VALUED: [Self; 4] =
        [Self::Agent, Self::Instance, Self::Announce, Self::Address];

    /// As it is written.
    pub(super) const fn label(self) -> &'static str {
        match self {
            Self::Top => "the file",
            Self::Agent => "[agent]",
            Self::Instance => "[[instance]]",
            Self::Announce => "[instance.announce]",
            Self::Address => "an entry of addresses",
        }
    }

    /// Its keys.
    pub(super) const fn keys(self) -> &'static [Key] {
        match self {
            Self::Top => &[("agent", "[agent]"), ("instance", "[[instance]]")],
            Self::Agent => &[
                ("router_id", "\"r1\""),
                ("run_dir", "\"/run/ha-agent\""),
                ("pin_dir", "\"/sys/fs/bpf/ha-agent\""),
                ("xdp", "\"auto\""),
                ("fence_interfaces", "[\"eth1\"]"),
                ("realtime_priority", "50"),
                ("log_level", "\"info\""),
                ("max_instances", "256"),
                ("max_addresses", "4096"),
            ],
            Self::Instance => &[
                ("name", "\"VI_1\""),
                ("interface", "\"eth0\""),
                ("vrid", "51"),
                ("version", "3"),
                ("family", "\"ipv4\""),
                ("priority", "100"),
                ("advert_interval", "\"1s\""),
                ("preempt", "true"),
                ("preempt_delay", "\"0s\""),
                ("addresses", "[\"192.168.1.200/24\"]"),
                ("source", "\"192.168.1.2\""),
                ("peers", "[\"192.168.1.3\"]"),
                ("password", "\"8 bytes!\""),
                ("ttl_min", "255"),
                ("checksum", "\"auto\""),
                ("announce", "{ count = 5 }"),
            ],
            Self::Announce => &[
                ("count", "5"),
                ("repeat_after", "\"5s\""),
                ("repeat_count", "5"),
                ("refresh", "\"60s\""),
                ("conflict_gap", "\"1s\""),
            ],
            Self::Address => &[("address", "\"192.168.1.200/24\""), ("scope", "\"global\"")],
        }
    }

    /// Whether it has this key.
    pub(super) fn has(self, key: &str) -> bool {
        self.keys().iter().any(|(name, _)| *name == key)
    }
}
