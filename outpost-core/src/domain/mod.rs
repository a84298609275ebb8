//! Row 1: what the words mean. Pure values and rules; no IO, no clock, no runtime.

pub mod actor;
pub mod attempt;
pub mod delivery;
pub mod descriptor;
pub mod destination;
pub mod egress;
pub mod event;
pub mod filter;
pub mod health;
pub mod metrics;
pub mod operator;
pub mod replay;
pub mod retry;
pub mod rollup;
pub mod settings;
pub mod signing;
pub mod tenant;
#[cfg(feature = "tokens")]
pub mod token;
pub mod topic;
pub mod verify;
