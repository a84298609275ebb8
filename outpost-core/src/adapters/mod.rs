//! Row 4: the ports' implementations that come with the core.

pub mod memory;
pub mod system;
