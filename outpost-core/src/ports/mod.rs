//! Row 3: what the library needs from outside, as traits.

pub mod clock;
pub mod net;
pub mod observer;
pub mod seal;
pub mod store;
pub mod transport;
