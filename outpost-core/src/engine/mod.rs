//! Row 2: decisions over values. `now` and randomness are arguments; nothing here does IO.

pub mod record;
