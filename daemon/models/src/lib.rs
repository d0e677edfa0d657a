//! What changes models: publishing, uploads and their staging, commits of hub clients, tasks.
//!
//! A node opens its [`Desks`] once. [`ModelDesk`] answers `/v1/models`, [`UploadDesk`] what hub
//! clients publish below `/hf`; both work on one store and one staging. [`UploadPlaces`] bounds who
//! uploads at the same time.
//!
//! Kept true: a revision is published whole or not at all; nobody publishes by its hash a file that
//! it could not have had from here; no byte is taken that there is no room for; a slow sender holds
//! no thread; nobody is told of a model that its token does not show. Not promised: that tasks
//! outlive the process. It must not know: sockets, workers, volumes, pages of the node, or how a
//! request has reached it.

#![forbid(unsafe_code)]

mod desk;
mod desks;
mod hub_upload;
mod metrics;
mod tasks;
mod upload_places;
mod uploads;

pub use desk::{Answer as ModelAnswer, Caller, ModelDesk};
pub use desks::{Desks, Stock};
pub use hub_upload::{Answer as UploadAnswer, PREFIX, UploadDesk, below_prefix};
pub use metrics::Line;
pub use upload_places::{UploadPlace, UploadPlaces};
pub use uploads::{Inflow, Staged, Tally};
