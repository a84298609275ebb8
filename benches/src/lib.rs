//! What several benches share.

pub mod history;
