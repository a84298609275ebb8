#![doc = include_str!("../README.md")]

mod accent;
mod chart;
mod icon;
