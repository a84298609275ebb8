//! What pages are built from. Nothing here calls the core.

pub(crate) mod code;
pub(crate) mod form;
mod frame;
pub(crate) mod outcome;
mod parts;

pub(crate) use self::frame::{Nav, Page, Tab, destination_head};
pub(crate) use self::parts::*;
