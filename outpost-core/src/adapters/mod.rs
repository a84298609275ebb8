//! Row 4: the ports' implementations that come with the core.

pub mod fault;
pub mod memory;
pub mod system;
