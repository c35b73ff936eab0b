//! The edges against a real kernel: netlink, packet sockets and raw sockets in network
//! namespaces that live as long as a test.

#![expect(
    clippy::unwrap_used,
    reason = "in a helper of tests a panic is the report, as in a test"
)]

mod advert;
mod lab;
mod neighbor;
mod netlink;
mod sys;
