//! Row 0: plain values. No IO, no clock, no runtime.

pub mod error;
pub mod id;
pub mod page;
pub mod secret;
pub mod text;
pub mod time;
