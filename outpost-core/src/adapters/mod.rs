//! Row 4: the ports' implementations that come with the core.

pub mod fault;
pub mod keyring;
pub mod memory;
pub mod scripted;
mod status;
pub mod system;
#[cfg(feature = "webhook")]
pub mod webhook;
