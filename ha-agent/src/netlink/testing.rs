//! What tests speak of.

use super::Address;
use crate::config::model::Scope;
use crate::vrrp::types::Prefix;

pub(crate) fn prefix(text: &str) -> Prefix {
    let (address, len) = text.split_once('/').unwrap();
    Prefix {
        address: address.parse().unwrap(),
        len: len.parse().unwrap(),
    }
}

pub(crate) fn address(text: &str, scope: Scope) -> Address {
    Address {
        prefix: prefix(text),
        scope: Some(scope),
        secondary: false,
        permanent: true,
        tentative: false,
        ours: false,
    }
}
