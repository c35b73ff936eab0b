//! The configuration: what it says about a wrong file, and the files that ship with it.

mod changes;
mod files;
mod findings;
mod reading;
