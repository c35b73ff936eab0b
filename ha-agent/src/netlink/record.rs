//! The virtual addresses this agent holds, on file.

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::path::Path;

use crate::vrrp::types::Prefix;

/// The virtual addresses this agent holds, on file, so that a successor knows what a process that
/// died left behind.
///
/// An address is recorded before it is added and struck off after it was removed: the record
/// never holds too little.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Record(BTreeSet<Held>);

/// An address of a [`Record`]; on file `{"interface": "eth0", "address": "192.0.2.1/32"}`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, serde::Serialize, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Held {
    /// Name of the interface: an index would mean another interface after a reboot.
    pub interface: String,
    /// Address and prefix length.
    #[serde(rename = "address", with = "prefix_text")]
    pub prefix: Prefix,
}

impl Record {
    /// Name of the file in the run directory.
    pub const FILE: &'static str = "addresses.json";

    /// Reads the record in `run_dir`; without a file it is empty.
    ///
    /// # Errors
    /// The file cannot be read, or is not a record (`InvalidData`).
    pub fn load(run_dir: &Path) -> io::Result<Self> {
        match fs::read(run_dir.join(Self::FILE)) {
            Ok(text) => Ok(Self(serde_json::from_slice(&text)?)),
            Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(Self::default()),
            Err(e) => Err(e),
        }
    }

    /// Writes the record to `run_dir` as a whole: a reader, or a crash, finds the old one or the
    /// new one. Not synced to disk: what loses the page cache loses the addresses too.
    ///
    /// # Errors
    /// The directory is missing, full or not writable; the old record stays.
    pub fn store(&self, run_dir: &Path) -> io::Result<()> {
        let new = run_dir.join(format!("{}.new", Self::FILE));
        let mut text = serde_json::to_vec_pretty(&self.0)?;
        text.push(b'\n');
        fs::write(&new, text)?;
        fs::rename(new, run_dir.join(Self::FILE))
    }

    /// Notes an address; `true` when it was not there.
    pub fn insert(&mut self, interface: &str, prefix: Prefix) -> bool {
        self.0.insert(Held {
            interface: interface.to_owned(),
            prefix,
        })
    }

    /// Strikes an address off; `true` when it was there.
    pub fn remove(&mut self, interface: &str, prefix: Prefix) -> bool {
        self.0.remove(&Held {
            interface: interface.to_owned(),
            prefix,
        })
    }

    /// What is held, in order.
    pub fn iter(&self) -> impl Iterator<Item = &Held> {
        self.0.iter()
    }

    /// Nothing is held.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

mod prefix_text {
    use std::net::IpAddr;

    use serde::de::Error as _;
    use serde::{Deserialize, Deserializer, Serializer};

    use super::Prefix;

    pub(super) fn serialize<S: Serializer>(prefix: &Prefix, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(prefix)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Prefix, D::Error> {
        let text = String::deserialize(from)?;
        parse(&text).ok_or_else(|| D::Error::custom(format_args!("not an address/length: {text}")))
    }

    fn parse(text: &str) -> Option<Prefix> {
        let (address, len) = text.split_once('/')?;
        let prefix = Prefix {
            address: address.parse().ok()?,
            len: len.parse().ok()?,
        };
        let max = match prefix.address {
            IpAddr::V4(_) => 32,
            IpAddr::V6(_) => 128,
        };
        (prefix.len <= max).then_some(prefix)
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::prefix;
    use super::*;

    #[test]
    fn the_record_comes_back_as_it_was_stored() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(Record::load(dir.path()).unwrap(), Record::default());
        let mut record = Record::default();
        assert!(record.insert("eth0", prefix("10.0.0.1/32")));
        assert!(record.insert("eth0", prefix("2001:db8::1/128")));
        assert!(!record.insert("eth0", prefix("10.0.0.1/32")));
        record.store(dir.path()).unwrap();
        assert_eq!(Record::load(dir.path()).unwrap(), record);
        let text = fs::read_to_string(dir.path().join(Record::FILE)).unwrap();
        assert!(text.contains(r#""address": "10.0.0.1/32""#), "{text}");
        assert!(record.remove("eth0", prefix("10.0.0.1/32")));
        assert!(!record.remove("eth1", prefix("2001:db8::1/128")));
        record.store(dir.path()).unwrap();
        assert_eq!(Record::load(dir.path()).unwrap().iter().count(), 1);
        assert_eq!(
            fs::read_dir(dir.path()).unwrap().count(),
            1,
            "nothing left over"
        );
    }

    #[test]
    fn a_broken_record_is_an_error_and_not_an_empty_one() {
        let dir = tempfile::tempdir().unwrap();
        for broken in [
            "",
            "{}",
            r#"[{"interface":"eth0","address":"10.0.0.1"}]"#,
            r#"[{"interface":"eth0","address":"10.0.0.1/33"}]"#,
            r#"[{"interface":"eth0"}]"#,
        ] {
            fs::write(dir.path().join(Record::FILE), broken).unwrap();
            assert!(Record::load(dir.path()).is_err(), "{broken}");
        }
    }
}
