//! The election: RFC 9568 as a state machine without sockets, clocks or randomness.

pub mod packet;
pub mod router;
pub mod types;

pub use router::{Action, Advert, Announcement, Config, Input, LinkState, Reason, Router, State};
