//! Measurements of shares, disks and model loads, and pages of their results.
//!
//! [`share`], [`disk`] and [`model`] read through [`source`], the clients of NFS and HTTP that need
//! no mount; [`html`] is a page of what any measurement yields, [`csv`] a table of it, [`history`]
//! saved runs. Links are measured in `towline-link`, which a node links too; comparisons with other
//! servers are `towline-loads`, for developers. Not promised: absolute figures. They are those of
//! the machines and the moment.
#![forbid(unsafe_code)]

pub mod content;
pub mod csv;
pub mod disk;
pub mod history;
pub mod html;
pub mod mesh;
pub mod model;
pub mod poll;
pub mod rpc;
pub mod share;
pub mod source;
pub mod workload;
