//! placeholder header, replaced below
