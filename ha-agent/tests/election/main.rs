//! The election: its codec, its state table, and routers on a simulated network.

mod codec;
mod lan;
mod rules;
mod show;
mod simulation;
mod table;
