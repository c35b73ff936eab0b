//! The configuration: what it says about a wrong file, and the files that ship with it.

#![expect(clippy::unwrap_used, reason = "a test may panic")]

mod changes;
mod files;
mod findings;
mod reading;
