//! The HTTP core on real directories, driven without sockets: what a client sees of it.
//!
//! Every test speaks bytes and compares bytes. Not covered here: the driver, TLS, and speed.

mod changing;
mod driver;
mod listing;
mod reading;
mod uploading;
