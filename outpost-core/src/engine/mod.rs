//! Row 2: decisions over values. `now` and randomness are arguments; nothing here does IO.

pub mod outcome;
pub mod pace;
pub mod rate;
pub mod record;
pub mod scheduler;
