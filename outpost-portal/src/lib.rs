#![doc = include_str!("../README.md")]

mod accent;
mod auth;
mod chart;
mod cx;
mod guard;
mod icon;
mod pages;
mod prefs;
mod reply;
mod request;
mod route;
mod service;
mod site;
mod text;
mod time;
mod view;

pub use async_trait::async_trait;

pub use self::auth::{Authenticator, Principal};
pub use self::reply::Body;
pub use self::service::{Portal, ResponseFuture};
pub use self::site::{Action, PortalBuilder};
pub use self::text::Language;
