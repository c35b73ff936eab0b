//! The election: its codec, its state table, and routers on a simulated network.

#![expect(clippy::unwrap_used, reason = "what cannot be built cannot be tested")]

mod codec;
mod lan;
mod rules;
mod show;
mod simulation;
mod table;
